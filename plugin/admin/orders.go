package admin

import (
	"net/http"
	"time"

	"mooring/plugin/store"
)

// DefaultKeep is how long a volume that an operator removed can be restored.
const DefaultKeep = store.Delay(24 * time.Hour)

// size is an order to grow.
type size struct {
	Size store.Size `json:"size"`
}

func (s *server) grow(r *http.Request) (any, error) {
	var order size
	if err := decode(r, &order, `{"size": "20g"}`); err != nil {
		return nil, err
	}
	return s.driver.Grow(r.Context(), r.PathValue("name"), order.Size)
}

func (s *server) trash(r *http.Request) (any, error) {
	found, err := s.driver.Trash(r.Context())
	return map[string]any{"trash": orEmpty(found)}, err
}

// which is an order to restore.
type which struct {
	ID string `json:"id,omitempty"`
}

func (s *server) restore(r *http.Request) (any, error) {
	var order which
	if err := decode(r, &order, `{} or {"id": "…"}`); err != nil {
		return nil, err
	}
	return s.driver.Restore(r.Context(), r.PathValue("name"), order.ID)
}

func (s *server) snapshots(r *http.Request) (any, error) {
	found, err := s.driver.Snapshots(r.Context(), r.PathValue("name"))
	return map[string]any{"snapshots": orEmpty(found)}, err
}

func (s *server) snapshot(r *http.Request, say Say) (any, error) {
	var order SnapshotOrder
	if err := decode(r, &order, `{"snapshot": "name", "copy": false}`); err != nil {
		return nil, err
	}
	return s.driver.Snapshot(r.Context(), r.PathValue("name"), order, say)
}

func (s *server) clone(r *http.Request, say Say) (any, error) {
	var order CloneOrder
	if err := decode(r, &order, `{"from": "volume or volume@snapshot", "copy": false}`); err != nil {
		return nil, err
	}
	return s.driver.Clone(r.Context(), r.PathValue("name"), order, say)
}

func (s *server) check(r *http.Request, say Say) (any, error) {
	var order CheckOrder
	if err := decode(r, &order, `{"repair": false}`); err != nil {
		return nil, err
	}
	return s.driver.Check(r.Context(), r.PathValue("name"), order, say)
}
