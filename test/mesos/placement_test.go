package mesos_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring/coordinator"
	"mooring/scheduler/store/storetest"
)

// in is the flag of a master or an agent that says where it is.
func in(region, zone string) string {
	return fmt.Sprintf(`--domain={"fault_domain":{"region":{"name":%q},"zone":{"name":%q}}}`, region, zone)
}

// waits waits until a node says that it waits for something.
func (r *rig) waits(id coordinator.NodeID, what string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("node %d waits: %s", id, what), func() error {
		if text := r.scheduler.View().Notes[id].Text; !strings.Contains(text, what) {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
}

func TestNodesStayInTheMastersRegionUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	c := newCluster(t, append([]string{in("here", "z1")}, quick...)...)
	far := c.agent(1, in("there", "z9"))
	r := newRig(t, 2, c.Master)
	r.start()
	r.waits(1, "in region there, which is not the master's")
	near := c.agent(2, in("here", "z2"), "--attributes=rack:r1;level:3;disks:ssd,hdd;slots:[1-5]")
	assert.Equal(t, near.Host, r.is(1, coordinator.Running, 1).Place.Host)
	r.stop()

	var err error
	r.rules.Constraints, err = coordinator.ParseConstraints([]string{"spread over @region", "at most 1 per @zone"})
	require.NoError(t, err)
	r.start()
	place := r.is(2, coordinator.Running, 1).Place
	assert.Equal(t, []string{far.Host, "there", "%40zone=z9"}, []string{place.Host, place.Zone, place.Values})
	r.stop()

	r.rules.Constraints, err = coordinator.ParseConstraints([]string{"rack is r1", "level is 2-4", "disks has ssd", "slots has 2-3"})
	require.NoError(t, err)
	r.rules.MaxPerHost = 2
	r.start()
	r.apply(coordinator.Scale{At: time.Now(), Target: 3})
	assert.Equal(t, near.Host, r.is(3, coordinator.Running, 1).Place.Host)
}

// reservations are those of what tasks use on an agent, as "NAME ROLE+ROLE…".
func (c *cluster) reservations(t *testing.T) []string {
	t.Helper()
	var answer struct {
		Agents []struct {
			Used []struct {
				Name         string
				Reservations []struct{ Type, Role string }
			} `json:"used_resources_full"`
		} `json:"slaves"`
	}
	require.NoError(t, ask("http://"+c.Master+"/slaves", &answer))
	var found []string
	for _, a := range answer.Agents {
		for _, r := range a.Used {
			var stack []string
			for _, reservation := range r.Reservations {
				stack = append(stack, strings.ToLower(reservation.Type)+":"+reservation.Role)
			}
			if used := r.Name + " " + strings.Join(stack, "+"); !slices.Contains(found, used) {
				found = append(found, used)
			}
		}
	}
	slices.Sort(found)
	return found
}

// reserve has an operator refine what an agent has for role es to role es/hot.
func (a *agent) reserve(id string) {
	a.t.Helper()
	one := func(resource string) string {
		return `{` + resource + `,"reservations":[{"type":"STATIC","role":"es"},{"type":"DYNAMIC","role":"es/hot","labels":{"labels":[{"key":"for","value":"nodes"}]}}]}`
	}
	order := fmt.Sprintf(`{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":%q},"resources":[%s]}}`, id, strings.Join([]string{
		one(`"name":"cpus","type":"SCALAR","scalar":{"value":0.75}`), one(`"name":"mem","type":"SCALAR","scalar":{"value":400}`),
		one(`"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31500,"end":31501}]}`),
	}, ","))
	require.Equal(a.t, http.StatusAccepted, a.cluster.order("/api/v1", order))
}

// What is refined for a role is used before what it may use of its parent's, and all of it is handed back as it was reserved.
func TestRefinedReservationsAreUsedFirst(t *testing.T) {
	t.Parallel()
	c := newCluster(t, quick...)
	a := c.agent(1, "--resources=cpus(es):2;mem(es):2048;disk(es):1000;ports(es):[31500-31599]")
	var known []string
	eventually(t, "the master knows the agent", func() error {
		if known = c.agents(t); len(known) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	a.reserve(known[0])
	r := newRig(t, 1, c.Master)
	r.options.Roles = []string{"es/hot"}
	r.start()
	place := r.is(1, coordinator.Running, 1).Place
	assert.Equal(t, []int{31500, 31501}, []int{place.HTTPPort, place.TransportPort})
	assert.Equal(t, []string{
		"cpus static:es", "cpus static:es+dynamic:es/hot", "mem static:es", "mem static:es+dynamic:es/hot", "ports static:es+dynamic:es/hot",
	}, c.reservations(t))
}

// agents are the IDs of the agents that the master knows.
func (c *cluster) agents(t *testing.T) []string {
	t.Helper()
	var answer struct {
		Agents []struct{ ID string } `json:"slaves"`
	}
	require.NoError(t, ask("http://"+c.Master+"/slaves", &answer))
	var ids []string
	for _, a := range answer.Agents {
		ids = append(ids, a.ID)
	}
	return ids
}

// The agent has one part of a node for each of two roles: nothing can be made of them, since Mesos takes them together never. An
// agent that has all for one of the roles gets the node. Then no role wants offers.
func TestOffersToTwoRolesMakeNoNodeTogether(t *testing.T) {
	t.Parallel()
	c := newCluster(t, quick...)
	c.agent(1, "--resources=cpus(es):0.5;mem(es):512;cpus(logs):0.5;mem(logs):512;disk:1000;ports(es):[31500-31509];ports(logs):[31510-31519]")
	r := newRig(t, 1, c.Master)
	r.options.Roles = []string{"es", "logs"}
	r.rules.Roles = r.options.Roles
	r.start()
	r.waits(1, "2 with less than 1 CPUs")
	whole := c.agent(2, "--resources=cpus(es):1;mem(es):512;disk:1000;ports(es):[31510-31519]")
	assert.Equal(t, whole.Host, r.is(1, coordinator.Running, 1).Place.Host)
	assert.Equal(t, []string{"cpus static:es", "mem static:es", "ports static:es"}, c.reservations(t))
	r.eventually("no role wants offers", func() error {
		var state struct {
			Frameworks []struct {
				Offers []any
			}
		}
		if err := ask("http://"+c.Master+"/master/state", &state); err != nil {
			return err
		}
		if !r.scheduler.View().State.Suppressed || len(state.Frameworks) != 1 || len(state.Frameworks[0].Offers) > 0 {
			return errors.New("offers are outstanding")
		}
		return nil
	})
}

// Two hosts, of which one is for one framework alone: what it has is reserved, so others get nothing of it, and a constraint keeps
// its framework from the other host.
func TestAHostForOneFrameworkAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, quick...)
	own := c.agent(1, "--resources=cpus(es):4;mem(es):4096;disk(es):10000;ports(es):[9200-9399]", "--attributes=dedicated:es")
	shared := c.agent(2)
	others := newRig(t, 2, c.Master)
	others.store = storetest.NewMemory(coordinator.NewState("logs", 2))
	others.start()
	assert.Equal(t, shared.Host, others.is(1, coordinator.Running, 1).Place.Host)
	others.waits(2, "1 with 1 node(s) of this framework already")

	r := newRig(t, 2, c.Master)
	r.options.Roles = []string{"es"}
	var err error
	r.rules.Constraints, err = coordinator.ParseConstraints([]string{"dedicated is es"})
	require.NoError(t, err)
	r.start()
	assert.Equal(t, own.Host, r.is(1, coordinator.Running, 1).Place.Host)
	r.waits(2, "1 without attribute dedicated:es")
	assert.Equal(t, []string{"cpus ", "cpus static:es", "mem ", "mem static:es", "ports ", "ports static:es"}, c.reservations(t))
	others.waits(2, "1 with 1 node(s) of this framework already")
}
