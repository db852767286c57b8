package lease_test

import (
	"testing"

	"pgregory.net/rapid"

	"mooring/plugin/lease"
)

// However hosts freeze, wake, reboot and take volumes from each other, by time or by order: whoever mounts an image, after a
// copy if it is exposed, is alone with it, and it is the latest.
func TestNoFrozenHostHasTheImageOfTheNextHolder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &imageWorld{mounted: map[string]uint64{}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			host := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "host")
			switch rapid.SampledFrom([]string{"use", "take", "give back", "order", "reboot", "wake"}).Draw(t, "event") {
			case "use":
				w.use(t, host)
			case "take": // and dies, or freezes, before it has done anything
				w.take(host)
			case "give back":
				w.giveBack(host)
			case "order": // the holder stays as it is: frozen
				if w.current.State == lease.Held && w.current.Host != host {
					w.current = w.current.Next("v", lease.Identity{Host: host})
					w.current.State = lease.Released
				}
			case "reboot":
				delete(w.mounted, host)
				if w.current.Host == host && w.current.State == lease.Held {
					w.take(host)
				}
			case "wake": // and is fenced
				if w.current.Host != host || w.current.State != lease.Held {
					delete(w.mounted, host)
				}
			}
		}
	})
}

// imageWorld is which image each host has mounted, whether it holds the volume or has lost it without knowing.
type imageWorld struct {
	current lease.Lease
	mounted map[string]uint64
	latest  uint64 // that was mounted by a holder
}

// take is a new epoch for a host that has nothing mounted any more.
func (w *imageWorld) take(host string) bool {
	if _, late := w.mounted[host]; late {
		return false
	}
	w.current = w.current.Next("v", lease.Identity{Host: host})
	return true
}

func (w *imageWorld) use(t *rapid.T, host string) {
	if !w.take(host) {
		return
	}
	if w.current.Image != w.latest {
		t.Fatalf("host %s goes on with image %d, the latest is %d", host, w.current.Image, w.latest)
	}
	if w.current.Exposed() {
		w.current.Image = w.current.Epoch
	}
	for other, image := range w.mounted {
		if image == w.current.Image {
			t.Fatalf("host %s mounts image %d, which host %s has mounted", host, image, other)
		}
	}
	w.mounted[host], w.latest = w.current.Image, w.current.Image
}

func (w *imageWorld) giveBack(host string) {
	if w.current.Host == host && w.current.State == lease.Held {
		delete(w.mounted, host)
		w.current.State = lease.Released
	}
}
