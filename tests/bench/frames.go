package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// frames is the baseline's relay: it answers a POST by writing its body as one frame to one requester's websocket.
type frames struct {
	endpoint string
	arrivals []chan time.Time       // by requester
	sockets  []chan *websocket.Conn // the relay's ends; one in each
	clients  []*websocket.Conn
}

func newFrames(endpoint string, requesters int) *frames {
	f := &frames{endpoint: endpoint}
	for range requesters {
		f.arrivals = append(f.arrivals, make(chan time.Time, 1))
		f.sockets = append(f.sockets, make(chan *websocket.Conn, 1))
	}
	return f
}

// connect opens the requesters' websockets.
func (f *frames) connect(ctx context.Context, url string, requesters int) error {
	for i := range requesters {
		conn, _, err := websocket.Dial(ctx, fmt.Sprintf("%s?requester=%d", url, i), nil)
		if err != nil {
			return err
		}
		f.clients = append(f.clients, conn)
		go func() {
			for {
				if _, _, err := conn.Read(context.Background()); err != nil {
					return
				}
				f.arrivals[i] <- time.Now()
			}
		}()
	}
	return nil
}

func (f *frames) close() {
	for _, conn := range f.clients {
		_ = conn.CloseNow()
	}
}

func (f *frames) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	requester, _ := strconv.Atoi(r.URL.Query().Get("requester"))
	f.sockets[requester] <- conn
	_, _, _ = conn.Read(r.Context()) // until the requester goes
}

func (f *frames) post(w http.ResponseWriter, r *http.Request) {
	requester, _ := strconv.Atoi(r.URL.Query().Get("requester"))
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = f.write(r.Context(), requester, body)
	}
	answer(w, err)
}

// write writes one frame.
func (f *frames) write(ctx context.Context, requester int, event []byte) error {
	conn := <-f.sockets[requester]
	defer func() { f.sockets[requester] <- conn }()
	return conn.Write(ctx, websocket.MessageText, event)
}

// call makes the POST.
func (f *frames) call(ctx context.Context, requester int, event []byte) error {
	url := fmt.Sprintf("%s?requester=%d", f.endpoint, requester)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(event))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return errors.New("baseline's relay: " + response.Status)
	}
	return nil
}
