package wire

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// BenchmarkEcho sends frames of 100 bytes over loopback, so many a flush, and
// waits for their replies. An op is a frame.
func BenchmarkEcho(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) { benchmarkEcho(b, batch) })
	}
}

func benchmarkEcho(b *testing.B, batch int) {
	done := make(chan int, 1<<16)
	l := NewLink(benchLinkOptions(b, func(replies []Reply) { done <- len(replies) }))
	defer l.Close()
	payload := make([]byte, 100)
	_, _ = rand.Read(payload)
	token := new(int)
	for l.Send(Small, 1, 2, 3, time.Second, token, payload) != nil {
		time.Sleep(time.Millisecond)
	}
	l.Flush()
	<-done
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		n := min(batch, b.N-sent)
		for range n {
			if err := l.Send(Small, 1, 2, 3, time.Second, token, payload); err != nil {
				b.Fatal(err)
			}
		}
		l.Flush()
		sent += n
		for n > 0 {
			n -= <-done
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

// benchLinkOptions leads to a listener that echoes, and that ends with b.
func benchLinkOptions(b testing.TB, deliver func([]Reply)) LinkOptions {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_ = Serve(ctx, conn, ServeOptions{Identity: Identity{Hello: hello(2)}, Handler: echo})
			})
		}
	})
	b.Cleanup(func() {
		listener.Close()
		cancel()
		serving.Wait()
	})
	return LinkOptions{
		Identity: Identity{Hello: hello(1)},
		Dial: func(ctx context.Context, _ Lane) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", listener.Addr().String())
		},
		Deliver: deliver,
	}
}
