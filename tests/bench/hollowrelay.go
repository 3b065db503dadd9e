package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// hollowRelay answers a POST by writing one frame to one websocket.
type hollowRelay struct {
	endpoint string
	arrivals []chan time.Time // by requester

	mu      sync.Mutex
	sockets map[int]*websocket.Conn // the relay's ends, by requester
	began   map[int]time.Time       // of each requester's last frame
	clients []*websocket.Conn
	opened  sync.WaitGroup
}

func newHollowRelay() *hollowRelay {
	return &hollowRelay{sockets: make(map[int]*websocket.Conn), began: make(map[int]time.Time)}
}

// connect opens the requesters' websockets and returns when the relay has its ends.
func (r *hollowRelay) connect(ctx context.Context, socket, endpoint string, requesters int) error {
	r.endpoint = endpoint
	r.arrivals = make([]chan time.Time, requesters)
	r.opened.Add(requesters)
	for i := range requesters {
		r.arrivals[i] = make(chan time.Time, 1)
		conn, _, err := websocket.Dial(ctx, fmt.Sprintf("%s?requester=%d", socket, i), nil)
		if err != nil {
			return err
		}
		r.clients = append(r.clients, conn)
		go func() {
			for {
				if _, _, err := conn.Read(context.Background()); err != nil {
					return
				}
				r.arrivals[i] <- time.Now()
			}
		}()
	}
	r.opened.Wait()
	return nil
}

func (r *hollowRelay) close() {
	for _, conn := range r.clients {
		_ = conn.CloseNow()
	}
}

func (r *hollowRelay) socket(w http.ResponseWriter, request *http.Request) {
	conn, err := websocket.Accept(w, request, nil)
	if err != nil {
		return
	}
	requester, _ := strconv.Atoi(request.URL.Query().Get("requester"))
	r.mu.Lock()
	r.sockets[requester] = conn
	r.mu.Unlock()
	r.opened.Done()
	_, _, _ = conn.Read(request.Context()) // until the requester goes
}

// frame is the body of the POST, and what is written to the websocket.
type frame struct {
	Requester int `json:"requester"`
	Event     any `json:"event"`
}

func (r *hollowRelay) post(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	var f frame
	if err == nil {
		err = json.Unmarshal(body, &f)
	}
	if err == nil {
		r.mu.Lock()
		conn := r.sockets[f.Requester]
		r.began[f.Requester] = time.Now()
		r.mu.Unlock()
		err = conn.Write(request.Context(), websocket.MessageText, body)
	}
	answer(w, err)
}

// frameBegan returns when the last frame to a requester was begun.
func (r *hollowRelay) frameBegan(requester int) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.began[requester]
}

// call makes the POST.
func (r *hollowRelay) call(ctx context.Context, requester int, event any) error {
	body, err := json.Marshal(frame{requester, event})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return errors.New("hollow relay: " + response.Status)
	}
	return nil
}
