package conformance

const askWebSocket = "GET /ws HTTP/1.1\nHost: a\nConnection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n\n"

const agreeWebSocket = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\n"

var upgradeCases = []behaviour{
	{"upgrade: WebSocket bytes go both ways", func(s *stage) {
		client, app := s.upgraded()
		client.raw("\x81\x85mask\x05\x04\x1f\x07\x02")
		app.hear("\x81\x85mask\x05\x04\x1f\x07\x02")
		app.raw("\x81\x02hi\x82\x00")
		client.hear("\x81\x02hi\x82\x00")
	}},
	{"upgrade: early bytes of the client arrive", func(s *stage) {
		client := s.client()
		client.raw(crlf(askWebSocket) + "early")
		app := s.app()
		app.head().want("Upgrade", "websocket")
		app.raw(crlf(agreeWebSocket) + "\x81\x05early")
		client.head().wantStatus(101)
		app.hear("early")
		client.hear("\x81\x05early")
	}},
	{"upgrade: the app closes first", func(s *stage) {
		client, app := s.upgraded()
		app.raw("\x88\x00")
		app.Close()
		client.hear("\x88\x00")
		client.end()
	}},
	{"upgrade: the client closes first", func(s *stage) {
		client, app := s.upgraded()
		client.raw("\x88\x80mask")
		client.Close()
		app.hear("\x88\x80mask")
		app.end()
	}},
	{"upgrade: the client closes its side and still hears", func(s *stage) {
		client, app := s.upgraded()
		client.closeWrite()
		app.end()
		app.raw("\x81\x04last")
		client.hear("\x81\x04last")
		app.Close()
		client.end()
	}},
	{"upgrade: the app closes its side and still hears", func(s *stage) {
		client, app := s.upgraded()
		app.closeWrite()
		client.end()
		client.raw("last")
		app.hear("last")
	}},
	{"upgrade: any protocol", func(s *stage) {
		client := s.client()
		client.say("GET / HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: Foo/2.1\n\n")
		app := s.app()
		app.head().want("Upgrade", "Foo/2.1")
		app.say("HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: Foo/2.1\n\n")
		client.head().want("Upgrade", "Foo/2.1")
		client.raw("\x00\x01\x02")
		app.hear("\x00\x01\x02")
		app.raw("\xff\xfe")
		client.hear("\xff\xfe")
	}},
	{"upgrade: a refusal is an answer as any other", func(s *stage) {
		client := s.client()
		client.say(askWebSocket)
		app := s.app()
		app.head()
		app.say("HTTP/1.1 403 Forbidden\nContent-Length: 2\n\nno")
		h := client.head()
		h.wantStatus(403)
		client.hear("no")
	}},
	{"upgrade: to h2c may be declined, and is answered", func(s *stage) {
		client := s.client()
		client.say("GET / HTTP/1.1\nHost: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\n")
		app := s.app()
		app.head()
		app.say("HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
		h := client.head()
		h.wantStatus(200)
		client.hear("ok")
	}},
}

func (s *stage) upgraded() (client, app *wire) {
	client = s.client()
	client.say(askWebSocket)
	app = s.app()
	h := app.head()
	h.want("Upgrade", "websocket")
	h.want("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	app.say(agreeWebSocket)
	h = client.head()
	h.wantStatus(101)
	h.want("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
	return client, app
}
