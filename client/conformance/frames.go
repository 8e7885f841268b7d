// Package conformance is a client of Kvasir's engine API, written from docs/engine-api.md and engine.proto, not
// from another client. It exists to test the two: the tests quote the sentences that they hold.
package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	enginev1 "kvasir/engine/v1"
)

// Until Hello told another limit.
const firstFrameLimit = 1 << 20

// Refused is an Error that the node answered.
type Refused struct {
	Code    enginev1.Error_Code
	Message string
}

func (r *Refused) Error() string { return fmt.Sprintf("%v: %s", r.Code, r.Message) }

// CodeOf is the code of a Refused, and CODE_UNSPECIFIED of any other error or none.
func CodeOf(err error) enginev1.Error_Code {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused.Code
	}
	return enginev1.Error_CODE_UNSPECIFIED
}

// Conn is a connection: frames out, and one goroutine that reads the frames in.
type Conn struct {
	sock  net.Conn
	write sync.Mutex

	mu          sync.Mutex
	nextID      uint64
	waiting     map[uint64]chan *enginev1.Response
	incarnation []byte
	frameLimit  uint32
	// Why it ended; set before `ended` is closed.
	failure error
	ended   chan struct{}
	// Sees every answer before its caller does, those that nobody waits for any more too.
	onAnswer func(answer *enginev1.Response, isLate bool)
}

// Dial connects; nothing is said yet.
func Dial(socket string) (*Conn, error) {
	sock, err := net.DialTimeout("unix", socket, 10*time.Second)
	if err != nil {
		return nil, err
	}
	conn := &Conn{
		sock:       sock,
		waiting:    map[uint64]chan *enginev1.Response{},
		frameLimit: firstFrameLimit,
		ended:      make(chan struct{}),
	}
	go conn.readAll()
	return conn, nil
}

// Close ends the connection, and nothing else: mappings and locks stay.
func (c *Conn) Close() { c.sock.Close() }

// Ended is closed once the connection is over; Failure then says why.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Failure is the Error of id 0 that the node sent last, or what broke the connection.
func (c *Conn) Failure() error {
	<-c.ended
	return c.failure
}

// Incarnation is that of the first answer.
func (c *Conn) Incarnation() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.incarnation
}

// Send writes a request under the next id, and returns where its answer comes.
func (c *Conn) Send(request *enginev1.Request) (uint64, <-chan *enginev1.Response, error) {
	c.mu.Lock()
	c.nextID++
	request.Id = c.nextID
	answer := make(chan *enginev1.Response, 1)
	c.waiting[request.Id] = answer
	c.mu.Unlock()
	body, err := proto.Marshal(request)
	if err != nil {
		return 0, nil, err
	}
	return request.Id, answer, c.WriteFrame(body)
}

// WriteFrame writes a length and these bytes, whatever they are.
func (c *Conn) WriteFrame(body []byte) error {
	return c.WriteRaw(append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...))
}

// WriteRaw writes bytes that are a frame, or are not.
func (c *Conn) WriteRaw(frame []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	c.sock.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.sock.Write(frame); err != nil {
		// Nothing can follow half a frame.
		c.sock.Close()
		return err
	}
	return nil
}

// Call sends, and waits for the answer until the context ends. An Error is returned as *Refused.
func (c *Conn) Call(ctx context.Context, request *enginev1.Request) (*enginev1.Response, error) {
	id, answer, err := c.Send(request)
	if err != nil {
		return nil, err
	}
	return c.Await(ctx, id, answer)
}

// Await waits for the answer of a request that was sent.
func (c *Conn) Await(ctx context.Context, id uint64, answer <-chan *enginev1.Response) (*enginev1.Response, error) {
	select {
	case response := <-answer:
		return result(response)
	case <-c.ended:
		select {
		case response := <-answer:
			return result(response)
		default:
			return nil, c.failure
		}
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
		select {
		case response := <-answer:
			return result(response)
		default:
			return nil, ctx.Err()
		}
	}
}

func result(response *enginev1.Response) (*enginev1.Response, error) {
	if failure := response.GetError(); failure != nil {
		return nil, &Refused{failure.Code, failure.Message}
	}
	return response, nil
}

func (c *Conn) readAll() {
	defer close(c.ended)
	defer c.sock.Close()
	for {
		response, err := c.readFrame()
		if err != nil {
			if c.failure == nil {
				c.failure = err
			}
			return
		}
		if len(response.Incarnation) != 16 {
			c.failure = fmt.Errorf("an incarnation of %d bytes", len(response.Incarnation))
			return
		}
		c.mu.Lock()
		if c.incarnation == nil {
			c.incarnation = response.Incarnation
		}
		same := bytes.Equal(c.incarnation, response.Incarnation)
		answer, expected := c.waiting[response.Id]
		delete(c.waiting, response.Id)
		onAnswer := c.onAnswer
		c.mu.Unlock()
		if !same {
			c.failure = errors.New("the incarnation changed")
			return
		}
		if response.Id == 0 {
			// The end follows.
			c.failure = &Refused{response.GetError().GetCode(), response.GetError().GetMessage()}
			continue
		}
		if onAnswer != nil {
			onAnswer(response, !expected)
		}
		if expected {
			answer <- response
		}
	}
}

func (c *Conn) readFrame() (*enginev1.Response, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.sock, head[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	c.mu.Lock()
	limit := c.frameLimit
	c.mu.Unlock()
	if length == 0 || length > limit {
		return nil, fmt.Errorf("a frame of %d bytes; the limit is %d", length, limit)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c.sock, body); err != nil {
		return nil, err
	}
	response := &enginev1.Response{}
	return response, proto.Unmarshal(body, response)
}
