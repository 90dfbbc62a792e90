package forwarder

import "testing"

func TestRedact(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"query values", `GET /a?user=bob&q=x%20y HTTP/1.1`, `GET /a?user=***&q=*** HTTP/1.1`},
		{"a path alone", `GET /a/b HTTP/1.1`, `GET /a/b HTTP/1.1`},
		{"a cookie header", "Cookie: JSESSIONID=1; a=b\nHost: x", "Cookie: ***\nHost: x"},
		{"headers in JSON", `{"authorization":"Bearer abcdefghijkl","host":"x"}`, `{"authorization":"***","host":"x"}`},
		{"headers in a JSON array", `{"Cookie":["a=b"],"Host":["x"]}`, `{"Cookie":["***"],"Host":["x"]}`},
		{"a bearer token in a text", `called with Bearer abc.def.ghi-123`, `called with Bearer ***`},
		{"key and value", `password=geheim, db_password: "x y" user=bob`, `password=***, db_password: "*** y" user=bob`},
		{"JSON", `{"apiKey":"k-123","count":3}`, `{"apiKey":"***","count":3}`},
		{"Ruby", `{"password"=>"geheim", "HTTP_COOKIE"=>"_shop=abc; x=y", "HTTP_AUTHORIZATION"=>"Token t0k3n", "n"=>1}`,
			`{"password"=>"***", "HTTP_COOKIE"=>"***", "HTTP_AUTHORIZATION"=>"***", "n"=>1}`},
		{"a word that only looks like one", `the password is wrong`, `the password is wrong`},
		{"a stack trace", "at a.b.Password.check(Password.java:12)", "at a.b.Password.check(Password.java:12)"},
	}
	for _, test := range tests {
		if got := redact(test.in); got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}

// Without the search for signs beforehand the same is masked.
func TestSignsMissNothing(t *testing.T) {
	for _, text := range []string{"", "?", "a=1", "x?y=z", "TOKEN", "auth_Token=abcdef", "pAsSwD: x", "my apikey: y", "Set-Cookie: a=b",
		"bearer abcdefghi", "BASIC dXNlcjpwYXNz", "credentials=x", "access_to\u212aen=secret1", "the second token", "secre", "ke", "key=", "api-\u212aEY=1",
		"proxy_authorization: abc", "x=passwor", "passwords=\"geheim\"", "a\u017fword=b", "pa\u017fsword=geheim", "id_token=x "} {
		want := text
		for _, s := range secrets {
			want = s.pattern.ReplaceAllString(want, s.with)
		}
		if got := redact(text); got != want {
			t.Errorf("%q becomes %q, without the search %q", text, got, want)
		}
	}
}
