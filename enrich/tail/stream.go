package tail

import (
	"context"
	"sync"
)

type piece struct{}

func (t *Tailer) openStreams(ctx context.Context, wg *sync.WaitGroup) <-chan piece { return nil }

func (t *Tailer) stream(p piece, handle func(*Block) error) error { return nil }

func (t *Tailer) drain(streams <-chan piece, handle func(*Block) error) error { return nil }
