package loop

import (
	"context"
	"errors"
	"sync"
)

// ErrSilent says that a device did not answer in time.
var ErrSilent = errors.New("loop device does not answer: the storage of its file hangs")

// Asker opens devices for those who cannot wait for ever: the kernel asks the storage of a device's file before it says what the
// device shows. A device that has not answered in time is not asked again before it has, so that however often somebody looks,
// there is one question that waits, and the look is short. The zero value works.
type Asker struct {
	mu   sync.Mutex              // held while devices are asked
	late map[int]<-chan struct{} // by number: closed when the device has answered after all
}

// Answer is what came of opening a device.
type Answer struct {
	Number int
	Device *Device // nil with Err
	Err    error   // ErrSilent, ErrFree or another one
}

// Open opens devices by their numbers, all at once, and waits for their answers until ctx ends.
func (a *Asker) Open(ctx context.Context, numbers []int) []Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	answers, late := make([]Answer, len(numbers)), make([]<-chan struct{}, len(numbers))
	var all sync.WaitGroup
	for i, number := range numbers {
		all.Go(func() { answers[i], late[i] = openWithin(ctx, number, a.late[number]) })
	}
	all.Wait()
	a.late = map[int]<-chan struct{}{}
	for i, number := range numbers {
		if late[i] != nil {
			a.late[number] = late[i]
		}
	}
	return answers
}

// openWithin opens a device that has answered the last question, if there was one. late is closed when it has answered.
func openWithin(ctx context.Context, number int, last <-chan struct{}) (_ Answer, late <-chan struct{}) {
	silent := Answer{Number: number, Err: ErrSilent}
	if last != nil {
		select {
		case <-last:
		default:
			return silent, last
		}
	}
	heard, over := make(chan Answer), make(chan struct{})
	go func() {
		defer close(over)
		d, err := Open(number)
		select {
		case heard <- Answer{number, d, err}:
		case <-ctx.Done():
			if err == nil {
				_ = d.Close() // nobody wants it any more
			}
		}
	}()
	select {
	case answer := <-heard:
		return answer, nil
	case <-ctx.Done():
		return silent, over
	}
}
