package main

import (
	"net"
	"sync/atomic"
	"time"
)

// wire lies between Firestore's clients and the emulator and adds a round-trip time, as a network does: what is sent at the
// same time arrives at the same time, so that only what waits for an answer takes longer.
type wire struct {
	net.Listener
	emulator string
	oneWay   atomic.Int64 // nanoseconds
}

func newWire(emulator string) (*wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{Listener: listener, emulator: emulator}
	go func() {
		for client, err := w.Accept(); err == nil; client, err = w.Accept() {
			go w.join(client)
		}
	}()
	return w, nil
}

// set chooses the round-trip time.
func (w *wire) set(rtt time.Duration) { w.oneWay.Store(int64(rtt / 2)) }

// without runs f without delay: what prepares a measurement is not measured.
func (w *wire) without(f func() error) error {
	defer w.oneWay.Store(w.oneWay.Swap(0))
	return f()
}

func (w *wire) join(client net.Conn) {
	server, err := net.Dial("tcp", w.emulator)
	if err != nil {
		_ = client.Close()
		return
	}
	go w.carry(server, client)
	w.carry(client, server)
}

// chunk is what was read at once, and when it arrives.
type chunk struct {
	data []byte
	due  time.Time
}

// carry hands on what comes, late and in order, until one side ends.
func (w *wire) carry(to, from net.Conn) {
	underWay := make(chan chunk, 1024)
	go func() {
		defer close(underWay)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			underWay <- chunk{data[:n], time.Now().Add(time.Duration(w.oneWay.Load()))}
			if err != nil {
				return
			}
		}
	}()
	for c := range underWay {
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.data); err != nil {
			_ = from.Close() // the rest is read and dropped
		}
	}
	_ = to.Close()
}
