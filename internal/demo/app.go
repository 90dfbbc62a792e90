package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// An app is the legacy service of the demo. It stands for what nobody may change: it has worker threads, a log format of
// its own with stack traces over many lines, a nightly job that fails, and no idea of OpenReplay.
type app struct {
	log  *os.File
	mu   sync.Mutex // log4j's appender writes one event at a time
	jobs chan job
}

type job struct {
	request *http.Request
	answer  chan answer
}

type answer struct {
	status int
	body   string
}

// RunApp serves the legacy app on listen, with its log at path, until ctx is done.
func RunApp(ctx context.Context, listen, path string) error {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	a := &app{log: log, jobs: make(chan job)}
	for i := range 4 {
		go a.work(fmt.Sprintf("worker-%d", i+1))
	}
	go a.nightly(ctx)
	server := &http.Server{Handler: a}
	context.AfterFunc(ctx, func() { server.Close() })
	a.write("INFO", "main", "", "ShopServer", "listening on "+listener.Addr().String())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	j := job{r, make(chan answer, 1)}
	a.jobs <- j
	done := <-j.answer
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(done.status)
	fmt.Fprintln(w, done.body)
}

func (a *app) work(thread string) {
	for j := range a.jobs {
		time.Sleep(rand.N(15 * time.Millisecond)) // a database somewhere
		j.answer <- a.handle(thread, j.request)
	}
}

func (a *app) handle(thread string, r *http.Request) answer {
	id := r.Header.Get("X-Request-ID")
	order, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/orders/"), "/")
	switch action {
	case "pay":
		a.write("ERROR", thread, id, "PaymentService", "payment of order "+order+" failed, it is tried again tomorrow")
		return answer{http.StatusOK, "Your order " + order + " is on its way."}
	case "ship":
		a.write("ERROR", thread, id, "ShippingController", "order "+order+" cannot be shipped\n"+shippingTrace(order))
		return answer{http.StatusInternalServerError, "Something went wrong."}
	case "invoice":
		a.write("WARN", thread, id, "InvoiceService", "no tax number for order "+order+", the default is taken")
		return answer{http.StatusOK, "The invoice of order " + order}
	}
	a.write("INFO", thread, id, "OrderController", "order "+order+" was shown")
	return answer{http.StatusOK, "Order " + order}
}

func shippingTrace(order string) string {
	return "com.acme.shop.OutOfStockException: no stock for order " + order + `
	at com.acme.shop.Warehouse.take(Warehouse.java:118)
	at com.acme.shop.ShippingController.ship(ShippingController.java:57)
	at com.acme.http.Worker.run(Worker.java:31)
Caused by: java.sql.SQLTransientException: lock wait timeout
SELECT amount
  FROM stock

 WHERE order_id = ` + order + `
	at com.acme.sql.Connection.execute(Connection.java:402)
	... 9 more`
}

// nightly fails on its own account: its error belongs to no request, and must not be pinned on a user.
func (a *app) nightly(ctx context.Context) {
	ticker := time.NewTicker(150 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.write("ERROR", "nightly-1", "", "StockSync", "the warehouse cannot be reached")
		}
	}
}

func (a *app) write(level, thread, request, logger, message string) {
	if request == "" {
		request = "-"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.log, "%s %-5s [%s] [%s] %s - %s\n", time.Now().Format("2006-01-02 15:04:05,000"), level, thread, request, logger, message)
}
