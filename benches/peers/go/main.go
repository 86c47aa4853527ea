// The reverse proxy of Go's standard library, over endpoints in turn. Arguments: [--tls FOLDER] LISTEN UPSTREAM...
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// buffers keeps the copy of each response body from allocating its own 32 KiB.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

func main() {
	words, folder, proto := os.Args[1:], "", "http"
	if len(words) > 1 && words[0] == "--tls" {
		words, folder, proto = words[2:], words[1], "https"
	}
	if len(words) < 2 {
		log.Fatal("arguments: [--tls FOLDER] LISTEN UPSTREAM...")
	}
	listen, upstreams := words[0], words[1:]
	var turn uint64

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0 // no limit for all together
	transport.MaxIdleConnsPerHost = 256
	transport.DisableCompression = true

	proxy := &httputil.ReverseProxy{
		Transport:  transport,
		BufferPool: &buffers{},
		// Rewrite with SetXForwarded does the same, but Debian 12's Go is older than that.
		Director: func(request *http.Request) {
			next := atomic.AddUint64(&turn, 1) % uint64(len(upstreams))
			request.URL.Scheme = "http"
			request.URL.Host = upstreams[next]
			// The proxy then sets it, to what it knows.
			request.Header.Del("X-Forwarded-For")
			request.Header.Set("X-Forwarded-Host", request.Host)
			request.Header.Set("X-Forwarded-Proto", proto)
			request.Host = ""
		},
	}
	if folder == "" {
		log.Fatal(http.ListenAndServe(listen, proxy))
	}
	certificate, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	log.Fatal(http.ListenAndServeTLS(listen, certificate, key, proxy))
}
