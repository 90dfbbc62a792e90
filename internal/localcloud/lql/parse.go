package lql

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Parse reads a query. The empty query matches every entry.
// Errors are worded as the API words them and belong into INVALID_ARGUMENT.
func Parse(query string) (*Filter, error) {
	if n := utf8.RuneCountInString(query); n > maxLength {
		return nil, fmt.Errorf("Unparseable filter: the filter has %d characters, the limit is %d", n, maxLength)
	}
	tokens, err := lex(query)
	if err != nil {
		return nil, err
	}
	p := &parser{query: query, tokens: tokens}
	if p.peek().kind == end {
		return &Filter{}, nil
	}
	root, err := p.expression(p.restriction)
	if err != nil {
		return nil, err
	}
	if p.peek().kind != end {
		return nil, p.unexpected()
	}
	if p.fault != nil {
		return nil, p.fault
	}
	return &Filter{root: root, fields: p.fields()}, nil
}

type parser struct {
	query  string
	tokens []token
	read   []protoreflect.FieldNumber
	all    bool
	fault  error // the first thing that is well written but means nothing
}

// blame keeps a fault for later: where the syntax is wrong too, that is the
// better explanation.
func (p *parser) blame(err error) {
	if p.fault == nil {
		p.fault = err
	}
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) take(sym string) bool {
	if !p.peek().is(sym) {
		return false
	}
	p.next()
	return true
}

func (p *parser) unexpected() error {
	t := p.peek()
	if t.kind == end {
		return syntaxErrorAt(p.query, t.at, "<EOF>")
	}
	return syntaxErrorAt(p.query, t.at, t.raw)
}

// fields lists what the query reads; nil stands for everything.
func (p *parser) fields() []protoreflect.FieldNumber {
	if p.all {
		return nil
	}
	slices.Sort(p.read)
	return slices.Compact(p.read)
}

// leaf parses what stands between the boolean words: a whole restriction, or,
// on the right of an operator, one value of a list in parentheses.
type leaf func() (node, error)

// expression reads factors joined by AND, or by nothing, which means the same.
func (p *parser) expression(l leaf) (node, error) {
	var all and
	for {
		n, err := p.factor(l)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
		if p.peek().word("AND") {
			p.next()
		} else if p.peek().kind == end || p.peek().is(")") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// factor reads terms joined by OR, which binds tighter than AND.
func (p *parser) factor(l leaf) (node, error) {
	var any or
	for {
		n, err := p.term(l)
		if err != nil {
			return nil, err
		}
		any = append(any, n)
		if !p.peek().word("OR") {
			break
		}
		p.next()
	}
	if len(any) == 1 {
		return any[0], nil
	}
	return any, nil
}

func (p *parser) term(l leaf) (node, error) {
	switch t := p.peek(); {
	case t.word("NOT") || t.is("-"):
		p.next()
		n, err := p.term(l)
		return not{n}, err
	case t.is("("):
		p.next()
		return p.closed(l)
	case t.word("AND") || t.word("OR"):
		return nil, p.unexpected()
	}
	return l()
}

// closed reads an expression and the parenthesis that ends it.
func (p *parser) closed(l leaf) (node, error) {
	n, err := p.expression(l)
	if err == nil && !p.take(")") {
		err = p.unexpected()
	}
	return n, err
}

// restriction reads FIELD OP VALUE, FUNCTION(...), or a value alone, which is
// looked for in every field.
func (p *parser) restriction() (node, error) {
	t := p.peek()
	if t.kind != text {
		return nil, p.unexpected()
	}
	p.next()
	if p.peek().is("(") && p.peek().glued && len(t.parts) == 1 && !t.parts[0].quoted {
		return p.function(t)
	}
	op, ok := operators[p.peek().raw]
	if !ok || p.peek().kind != symbol {
		p.all = true
		return newGlobal(t), nil
	}
	p.next()
	where, err := p.path(t)
	if err != nil {
		p.blame(err)
	}
	argument := func() (node, error) { return p.argument(where, op) }
	if p.take("(") {
		return p.closed(argument)
	}
	return argument()
}

// argument reads one value on the right of an operator.
func (p *parser) argument(where path, op operator) (node, error) {
	minus := p.take("-")
	t := p.peek()
	if t.kind != text || minus && !t.glued || t.word("AND") || t.word("OR") || t.word("NOT") {
		return nil, p.unexpected()
	}
	p.next()
	value, err := newValue(t, minus, where, op)
	if err != nil {
		p.blame(err)
	}
	return &comparison{path: where, op: op, value: value}, nil
}

// path resolves a field's name and notes that the query reads it.
func (p *parser) path(t token) (path, error) {
	names := make([]string, len(t.parts))
	for i, part := range t.parts {
		names[i] = part.text
	}
	where, err := resolve(names)
	if err == nil {
		p.read = append(p.read, where.top.Number())
	}
	return where, err
}
