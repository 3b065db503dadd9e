package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// frames is the baseline's relay: it answers a POST by writing its body as one frame to the websocket of the requesters, who
// share one.
type frames struct {
	endpoint string
	arrived  func(frame []byte, at time.Time)
	relay    chan *websocket.Conn // the relay's end; one
}

// connect opens the requesters' websocket. It closes when ctx ends.
func (f *frames) connect(ctx context.Context, url string) error {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	go func() {
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil {
				return
			}
			f.arrived(frame, time.Now())
		}
	}()
	return nil
}

func (f *frames) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	f.relay <- conn
	_, _, _ = conn.Read(r.Context()) // until the requesters go
}

func (f *frames) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = f.write(r.Context(), body)
	}
	answer(w, err)
}

func (f *frames) write(ctx context.Context, frame []byte) error {
	conn := <-f.relay
	f.relay <- conn // which may be written to by several at once
	return conn.Write(ctx, websocket.MessageText, frame)
}

// call makes the POST.
func (f *frames) call(ctx context.Context, frame []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.endpoint, bytes.NewReader(frame))
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
