package cell

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Options of an agent that nothing else is said of.
const (
	usualResources      = "cpus:2;mem:4096;disk:10000;ports:[9200-9399]"
	usualContainerizers = "docker,mesos"
)

// AgentOptions are options of a Mesos agent, as it reads them; empty: the usual ones.
type AgentOptions struct {
	Resources      string `json:"resources,omitempty"`
	Attributes     string `json:"attributes,omitempty"`
	Containerizers string `json:"containerizers,omitempty"`
}

// agentMeta is where the host's agent keeps who it is and what was reserved on it; see test/real-mesos.
func (h *Host) agentMeta() string {
	return filepath.Join(h.Dir, "mesos", "agents", "0", "work", "meta")
}

// AgentID is the ID that the Mesos master gave the host's agent.
func (h *Host) AgentID() (string, error) {
	agent, err := os.Readlink(filepath.Join(h.agentMeta(), "slaves", "latest"))
	if err != nil {
		return "", fmt.Errorf("find the agent of %s: %w", h.Name, err)
	}
	return filepath.Base(agent), nil
}

// Become puts another agent in the place of the host's: with its own ID and with other options. Nothing of a framework may run there.
func (h *Host) Become(ctx context.Context, o AgentOptions) error {
	if err := h.KillAgent(ctx); err != nil {
		return err
	}
	for _, name := range []string{filepath.Join("slaves", "latest"), "resources"} {
		if err := os.RemoveAll(filepath.Join(h.agentMeta(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget the agent of %s: %w", h.Name, err)
		}
	}
	if err := h.cell.change(func() { h.AgentOptions = o }); err != nil {
		return err
	}
	return h.StartAgent(ctx)
}

// flags are the options on the agent's command line.
func (o AgentOptions) flags() []string {
	flags := []string{"--resources=" + cmp.Or(o.Resources, usualResources), "--containerizers=" + cmp.Or(o.Containerizers, usualContainerizers)}
	if o.Attributes != "" {
		flags = append(flags, "--attributes="+o.Attributes)
	}
	return flags
}

// Resource is one of an agent's, as Mesos writes it.
type Resource struct {
	Name         string        `json:"name"`
	Type         string        `json:"type"`
	Scalar       *Scalar       `json:"scalar,omitempty"`
	Ranges       *Ranges       `json:"ranges,omitempty"`
	Reservations []Reservation `json:"reservations,omitempty"`
}

// Scalar is an amount.
type Scalar struct {
	Value float64 `json:"value"`
}

// Ranges are ranges of numbers, both ends included.
type Ranges struct {
	Range []struct {
		Begin int `json:"begin"`
		End   int `json:"end"`
	} `json:"range"`
}

// Reservation is for whom a resource is set aside.
type Reservation struct {
	Type string `json:"type"` // STATIC or DYNAMIC
	Role string `json:"role"`
}

// Reserve has an operator reserve some of the agent's unreserved resources for a role, dynamically. It returns once they are.
func (h *Host) Reserve(ctx context.Context, role, resources string) error {
	agent, err := h.AgentID()
	if err != nil {
		return err
	}
	var all []Resource
	if err := json.Unmarshal([]byte(resources), &all); err != nil {
		return fmt.Errorf("read resources to reserve: %w", err)
	}
	for i := range all {
		all[i].Reservations = []Reservation{{Type: "DYNAMIC", Role: role}}
	}
	order, err := json.Marshal(map[string]any{
		"type": "RESERVE_RESOURCES", "reserve_resources": map[string]any{"agent_id": map[string]string{"value": agent}, "resources": all},
	})
	if err != nil {
		return fmt.Errorf("encode reservation: %w", err)
	}
	client := h.cell.HTTPClient()
	defer client.CloseIdleConnections()
	if err := post(ctx, client, "http://"+h.cell.Master+"/api/v1", string(order)); err != nil {
		return fmt.Errorf("reserve on %s: %w", h.Name, err)
	}
	return await(ctx, "the reservation on "+h.Name, func(ctx context.Context) error {
		s, err := h.shares(ctx)
		if err == nil && len(s.Reserved[role]) == 0 {
			err = fmt.Errorf("reserved are %v", s.Reserved)
		}
		return err
	})
}

// givenUp is longer than a master of a cell with Fast takes to give up an agent that does not answer.
const givenUp = 5 * time.Second

// SettleAgent waits, in a cell with Fast, until the master has had the host's agent for longer than it takes to give one up. Of a host that
// returns from a power cut it may lose the agent some more times: it still asks on the connection to the host as it was before.
func (h *Host) SettleAgent(ctx context.Context) error {
	return await(ctx, "the agent of "+h.Name+" to stay", func(ctx context.Context) error {
		s, err := h.shares(ctx)
		since := time.Unix(int64(max(s.Registered, s.Reregistered)), 0)
		if err == nil && (!s.Active || time.Since(since) < givenUp) {
			err = fmt.Errorf("it is registered since %s, active: %t", since.Format(time.TimeOnly), s.Active)
		}
		return err
	})
}

// shares are what the master says of an agent and its resources.
type shares struct {
	ID           string                `json:"id"`
	Active       bool                  `json:"active"`
	Registered   float64               `json:"registered_time"`   // seconds
	Reregistered float64               `json:"reregistered_time"` // 0: never
	Used         []Resource            `json:"used_resources_full"`
	Reserved     map[string][]Resource `json:"reserved_resources_full"`
}

// Used is what tasks and executors on the host use, as the master knows it.
func (h *Host) Used(ctx context.Context) ([]Resource, error) {
	s, err := h.shares(ctx)
	return s.Used, err
}

func (h *Host) shares(ctx context.Context) (shares, error) {
	agent, err := h.AgentID()
	if err != nil {
		return shares{}, err
	}
	client := h.cell.HTTPClient()
	defer client.CloseIdleConnections()
	var answer struct {
		Agents []shares `json:"slaves"`
	}
	if err := get(ctx, client, "http://"+h.cell.Master+"/slaves", &answer); err != nil {
		return shares{}, err
	}
	for _, a := range answer.Agents {
		if a.ID == agent {
			return a, nil
		}
	}
	return shares{}, fmt.Errorf("the master knows no agent %s of %s", agent, h.Name)
}
