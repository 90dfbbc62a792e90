package conformance

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/openreplay/log-sidecar/proxy"
)

// words is a service in all four shapes, over strings. gone is told when a handler's client went.
type words struct{ gone chan struct{} }

var wordsService = grpc.ServiceDesc{
	ServiceName: "words.Words",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Split", ServerStreams: true, Handler: split},
		{StreamName: "Join", ClientStreams: true, Handler: join2},
		{StreamName: "Echo", ServerStreams: true, ClientStreams: true, Handler: echo2},
		{StreamName: "Hang", ServerStreams: true, Handler: hang},
	},
}

func say(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in wrapperspb.StringValue
	if err := decode(&in); err != nil {
		return nil, err
	}
	if code, ok := strings.CutPrefix(in.Value, "fail "); ok {
		return nil, status.Error(codes.FailedPrecondition, code)
	}
	if _, ok := ctx.Deadline(); ok && in.Value == "deadline?" {
		in.Value = "yes"
	}
	md, _ := metadata.FromIncomingContext(ctx)
	grpc.SetTrailer(ctx, metadata.Pairs("seen", strings.Join(md.Get("mark"), ",")))
	return wrapperspb.String(strings.ToUpper(in.Value)), nil
}

func split(_ any, s grpc.ServerStream) error {
	var in wrapperspb.StringValue
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	for word := range strings.FieldsSeq(in.Value) {
		if err := s.SendMsg(wrapperspb.String(word)); err != nil {
			return err
		}
	}
	return nil
}

func join2(_ any, s grpc.ServerStream) error {
	var all []string
	for {
		var in wrapperspb.StringValue
		if err := s.RecvMsg(&in); err == io.EOF {
			return s.SendMsg(wrapperspb.String(strings.Join(all, " ")))
		} else if err != nil {
			return err
		}
		all = append(all, in.Value)
	}
}

func echo2(_ any, s grpc.ServerStream) error {
	for {
		var in wrapperspb.StringValue
		if err := s.RecvMsg(&in); err == io.EOF {
			return status.Error(codes.OutOfRange, "no more")
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(&in); err != nil {
			return err
		}
	}
}

func hang(service any, s grpc.ServerStream) error {
	if err := s.SendMsg(wrapperspb.String("begun")); err != nil {
		return err
	}
	<-s.Context().Done()
	service.(*words).gone <- struct{}{}
	return s.Context().Err()
}

// grpcThroughProxy connects a real gRPC client to a real gRPC server through the proxy.
func grpcThroughProxy(t *testing.T) (*grpc.ClientConn, *words) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, service := grpc.NewServer(), &words{make(chan struct{}, 1)}
	server.RegisterService(&wordsService, service)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	addr := startProxy(t, proxy.Config{App: "http://" + l.Addr().String()})
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, service
}

func TestGRPC(t *testing.T) {
	conn, service := grpcThroughProxy(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	t.Run("unary, with metadata and trailers", func(t *testing.T) {
		var out wrapperspb.StringValue
		var trailer metadata.MD
		marked := metadata.AppendToOutgoingContext(ctx, "mark", "x")
		if err := conn.Invoke(marked, "/words.Words/Say", wrapperspb.String("hi"), &out, grpc.Trailer(&trailer)); err != nil || out.Value != "HI" {
			t.Errorf("%q, %v", out.Value, err)
		}
		if got := trailer.Get("seen"); len(got) != 1 || got[0] != "x" {
			t.Errorf("the trailer is %q", got)
		}
	})
	t.Run("an answer of trailers alone", func(t *testing.T) {
		err := conn.Invoke(ctx, "/words.Words/Say", wrapperspb.String("fail so"), new(wrapperspb.StringValue))
		if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "so" {
			t.Errorf("%v", err)
		}
		if err := conn.Invoke(ctx, "/words.Words/None", wrapperspb.String(""), new(wrapperspb.StringValue)); status.Code(err) != codes.Unimplemented {
			t.Errorf("%v", err)
		}
	})
	t.Run("server streaming", func(t *testing.T) {
		s := stream(t, ctx, conn, "Split", &grpc.StreamDesc{ServerStreams: true})
		send(t, s, "one two three")
		s.CloseSend()
		if got := receive(s); got != "one two three EOF" {
			t.Error(got)
		}
	})
	t.Run("client streaming", func(t *testing.T) {
		s := stream(t, ctx, conn, "Join", &grpc.StreamDesc{ClientStreams: true})
		send(t, s, "a")
		send(t, s, "b")
		s.CloseSend()
		var out wrapperspb.StringValue
		if err := s.RecvMsg(&out); err != nil || out.Value != "a b" {
			t.Errorf("%q, %v", out.Value, err)
		}
	})
	t.Run("both ways at the same time", func(t *testing.T) {
		s := stream(t, ctx, conn, "Echo", &grpc.StreamDesc{ServerStreams: true, ClientStreams: true})
		for i := range 3 {
			var out wrapperspb.StringValue
			send(t, s, fmt.Sprint(i))
			if err := s.RecvMsg(&out); err != nil || out.Value != fmt.Sprint(i) {
				t.Fatalf("%q, %v", out.Value, err)
			}
		}
		s.CloseSend()
		if got := receive(s); got != "rpc error: code = OutOfRange desc = no more" {
			t.Error(got)
		}
	})
	t.Run("cancelling reaches the app", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		s := stream(t, ctx, conn, "Hang", &grpc.StreamDesc{ServerStreams: true})
		s.CloseSend()
		if err := s.RecvMsg(new(wrapperspb.StringValue)); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-service.gone
	})
	t.Run("a deadline reaches the app", func(t *testing.T) {
		var out wrapperspb.StringValue
		if err := conn.Invoke(ctx, "/words.Words/Say", wrapperspb.String("deadline?"), &out); err != nil || out.Value != "YES" {
			t.Errorf("%q, %v", out.Value, err)
		}
	})
	t.Run("many at a time", func(t *testing.T) {
		errs := make(chan error, 100)
		for i := range cap(errs) {
			go func() {
				var out wrapperspb.StringValue
				err := conn.Invoke(ctx, "/words.Words/Say", wrapperspb.String(fmt.Sprint("n", i)), &out)
				if err == nil && out.Value != fmt.Sprint("N", i) {
					err = fmt.Errorf("%d became %q", i, out.Value)
				}
				errs <- err
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

func stream(t *testing.T, ctx context.Context, conn *grpc.ClientConn, method string, d *grpc.StreamDesc) grpc.ClientStream {
	t.Helper()
	s, err := conn.NewStream(ctx, d, "/words.Words/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func send(t *testing.T, s grpc.ClientStream, text string) {
	t.Helper()
	if err := s.SendMsg(wrapperspb.String(text)); err != nil {
		t.Fatal(err)
	}
}

// receive joins what comes and how it ends.
func receive(s grpc.ClientStream) string {
	var all []string
	for {
		var out wrapperspb.StringValue
		if err := s.RecvMsg(&out); err != nil {
			return strings.Join(append(all, err.Error()), " ")
		}
		all = append(all, out.Value)
	}
}
