package admin

import (
	"net/http"

	"mooring/plugin/store"
)

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
