package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	writeEvery = 50 * time.Millisecond
	writeSize  = 20 // documents at a time
)

// Writer writes numbered documents until it is stopped. A document that is not acknowledged is written again, and no later
// one before it is.
type Writer struct {
	ledger *Ledger
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
	err    error // set before done is closed
}

// StartWriter starts a writer that outlives ctx: it is stopped by Stop.
func StartWriter(ctx context.Context, l *Ledger) *Writer {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &Writer{ledger: l, cancel: cancel, done: make(chan struct{})}
	go w.run(ctx)
	return w
}

func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	ticks := time.NewTicker(writeEvery)
	defer ticks.Stop()
	for n := 0; ; n += writeSize {
		documents := make([]Document, writeSize)
		for i := range documents {
			documents[i] = Document{ID: fmt.Sprintf("live-%d", n+i), Source: map[string]int{"number": n + i}}
		}
		if err := w.ledger.WriteAll(ctx, documents, writeSize); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			w.err = err
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// Stop ends the writer and returns what went wrong with it. It may be called again.
func (w *Writer) Stop() error {
	w.once.Do(w.cancel)
	<-w.done
	return w.err
}
