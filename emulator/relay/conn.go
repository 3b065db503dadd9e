package relay

import (
	"net"
	"time"
)

// stuckAfter is how long one write may take before the connection is given up. khatru knows no such limit: without it a
// client that stops reading would hold its session's writer until it goes away.
const stuckAfter = 10 * time.Second

// patient gives every write on the connections that it accepts a deadline.
type patient struct{ net.Listener }

func (l patient) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return patientConn{conn}, nil
}

type patientConn struct{ net.Conn }

func (c patientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(stuckAfter)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
