package coordinator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring/coordinator"
)

func constraints(t require.TestingT, texts ...string) []coordinator.Constraint {
	all, err := coordinator.ParseConstraints(texts)
	require.NoError(t, err)
	return all
}

func TestConstraintsAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]coordinator.Constraint{
		"rack is r1":                  {Attribute: "rack", Kind: coordinator.Is, Values: []string{"r1"}},
		"rack is r1,r 2":              {Attribute: "rack", Kind: coordinator.Is, Values: []string{"r1", "r 2"}},
		"level is 2-8":                {Attribute: "level", Kind: coordinator.Is, Values: []string{"2-8"}},
		"@host is not 10.0.0.1":       {Attribute: "@host", Kind: coordinator.IsNot, Values: []string{"10.0.0.1"}},
		"disks has ssd,fast":          {Attribute: "disks", Kind: coordinator.Has, Values: []string{"ssd", "fast"}},
		"at most 2 per @zone":         {Attribute: "@zone", Kind: coordinator.AtMost, Max: 2},
		"same @region":                {Attribute: "@region", Kind: coordinator.Same},
		"spread over topology/rack.1": {Attribute: "topology/rack.1", Kind: coordinator.Spread},
	} {
		got, err := coordinator.ParseConstraint("  " + strings.ReplaceAll(text, " ", "  "))
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, text, got.String())
	}
	bad := map[string]string{
		"":                                   `constraint "" is not understood: use "rack is r1,r2"`,
		"rack = r1":                          "is not understood",
		"rack is":                            "is not understood",
		"rack is r1,,r2":                     "a value is empty: write values as r1,r2",
		"at most 0 per x":                    "use at least 1",
		"at most two per x":                  "is not understood",
		"at most 99999999999999999999 per x": "are too many",
		"same @nowhere":                      `"@nowhere" is no name of an attribute: use one that agents have, or @host, @region or @zone`,
		"same @host":                         "nodes can't be same @host",
		"spread over @host":                  "nodes can't be spread @host",
	}
	var all []string
	for text, says := range bad {
		_, err := coordinator.ParseConstraint(text)
		assert.ErrorContains(t, err, says)
		all = append(all, text)
	}
	_, err := coordinator.ParseConstraints(all)
	for text := range bad {
		assert.ErrorContains(t, err, fmt.Sprintf("%q", text), "all mistakes at once")
	}
}

// with is an offer of an agent with attributes, given as name:value.
func with(agent string, attributes ...string) coordinator.Offer {
	o := offer(agent)
	o.Attributes = map[string]string{}
	for _, a := range attributes {
		name, value, _ := strings.Cut(a, ":")
		o.Attributes[name] = value
	}
	return o
}

func (s *script) offers(offers ...coordinator.Offer) []coordinator.Action {
	return s.play(coordinator.Offers{At: s.now, Offers: offers})
}

func TestWhatOneHostMustHave(t *testing.T) {
	for _, c := range []struct {
		constraint, attribute string
		why                   string // empty: it fits
	}{
		{"rack is r1", "rack:r1", ""},
		{"rack is r1,r2", "rack:r2", ""},
		{"rack is r1,r2", "rack:r3", "without attribute rack:r1 or r2"},
		{"rack is r1", "zone:r1", "without attribute rack:r1"},
		{"rack is not r1,r2", "rack:r2", "with attribute rack:r1 or r2"},
		{"rack is not r1", "rack:r2", ""},
		{"rack is not r1", "zone:x", ""},
		{"level is 2", "level:2.0", ""},
		{"level is 2-8", "level:8", ""},
		{"level is 2-8", "level:8.5", "without attribute level:2-8"},
		{"level is 2-8", "level:high", "without attribute level:2-8"},
		{"level is not 2-8", "level:3", "with attribute level:2-8"},
		{"disks has ssd", "disks:{hdd,ssd}", ""},
		{"disks has ssd,hdd", "disks:{hdd,ssd}", ""},
		{"disks has ssd,nvme", "disks:{hdd,ssd}", "without nvme in attribute disks"},
		{"disks has ssd", "disks:ssd", ""},
		{"disks has ssd,hdd", "disks:hdd,nvme,ssd", ""},
		{"disks has ssd", "disks:hdd,nvme", "without ssd in attribute disks"},
		{"disks has ssd", "disks:{}", "without ssd in attribute disks"},
		{"disks has ssd", "rack:x", "without ssd in attribute disks"},
		{"slots has 4", "slots:[1-2,4-7]", ""},
		{"slots has 3", "slots:[1-2,4-7]", "without 3 in attribute slots"},
		{"slots has 5-7", "slots:[1-2,4-7]", ""},
		{"slots has 2-4", "slots:[1-2,4-7]", "without 2-4 in attribute slots"},
		{"slots has many", "slots:[1-2]", "without many in attribute slots"},
		{"@host is host-of-a1", "x:y", ""},
		{"@host is not host-of-a1", "x:y", "with attribute @host:host-of-a1"},
		{"at most 1 per rack", "x:y", "without attribute rack"},
		{"same rack", "x:y", "without attribute rack"},
		{"spread over rack", "x:y", ""},
	} {
		t.Run(c.constraint+" "+c.attribute, func(t *testing.T) {
			s := newScript(t, 1)
			s.rules.Constraints = constraints(t, c.constraint)
			got := s.offers(with("a1", c.attribute))
			if c.why == "" {
				assert.Equal(t, []string{"1@a1/1"}, launches(got))
				return
			}
			assert.Empty(t, launches(got))
			assert.Equal(t, []coordinator.Note{{Node: 1, Text: "no offer fits: 1 " + c.why}}, of[coordinator.Note](got))
			assert.Equal(t, c.why, of[coordinator.Decline](got)[0].Reason)
		})
	}
}

func TestAtMostSoManyNodesPerRack(t *testing.T) {
	s := newScript(t, 5)
	s.rules.Constraints = constraints(t, "at most 2 per rack")
	got := s.offers(with("a1", "rack:x"), with("a2", "rack:x"), with("a3", "rack:x"), with("a4", "rack:y"))
	assert.Equal(t, []string{"1@a1/1", "2@a2/1", "3@a4/1"}, launches(got))
	assert.Equal(t, "no offer fits: 1 of a rack with 2 node(s) already, 3 taken in this step", of[coordinator.Note](got)[0].Text)
	assert.Equal(t, "of a rack with 2 node(s) already", of[coordinator.Decline](got)[0].Reason)
	assert.Equal(t, []string{"4@a5/1"}, launches(s.offers(with("a3", "rack:x"), with("a5", "rack:y"))), "in a later step, too")
	s.report(1, coordinator.Alive)
	s.report(1, coordinator.Away)
	assert.Equal(t, []string{"1@a6/2"}, launches(s.after(time.Minute).offers(with("a6", "rack:x"))), "a node does not stand in its own way")
}

func TestAllNodesInOneZone(t *testing.T) {
	s := newScript(t, 3)
	s.rules.Constraints = constraints(t, "same @zone")
	got := s.offers(with("a1", "@zone:x"), with("a2", "@zone:y"), with("a3", "@zone:y"))
	assert.Equal(t, []string{"1@a2/1", "2@a3/1"}, launches(got), "where there is room for more than one")
	assert.Equal(t, "no offer fits: 1 of another @zone than the other nodes, 2 taken in this step", of[coordinator.Note](got)[0].Text)
	assert.Equal(t, []string{"3@a5/1"}, launches(s.offers(with("a1", "@zone:x"), with("a5", "@zone:y"))))
}

func TestNodesOfOneGroupPerHost(t *testing.T) {
	s := newScript(t, 3)
	s.rules.MaxPerHost, s.rules.Constraints = 3, constraints(t, "at most 2 per @host")
	one, two, three := offer("a1"), offer("a2"), offer("a3")
	two.Host, three.Host = one.Host, one.Host
	got := s.offers(one, two, three)
	assert.Equal(t, []string{"1@a1/1", "2@a2/1"}, launches(got))
	assert.Contains(t, of[coordinator.Note](got)[0].Text, "1 with 2 node(s) of the group already")
}

func TestNodesAreSpreadOverSeveralThings(t *testing.T) {
	s := newScript(t, 4)
	s.rules.Constraints = constraints(t, "spread over @zone", "spread over rack")
	var offers []coordinator.Offer
	for i, at := range []string{"a r1", "a r1", "a r2", "b r3", "b r3", "b r4"} {
		zone, rack, _ := strings.Cut(at, " ")
		offers = append(offers, with(fmt.Sprintf("a%d", i), "@zone:"+zone, "rack:"+rack))
	}
	got := s.offers(offers...)
	assert.Equal(t, []string{"1@a0/1", "2@a3/1", "3@a2/1", "4@a5/1"}, launches(got))
	assert.Equal(t, "a", s.node(1).Place.Zone)
	assert.Equal(t, "rack=r1", s.node(1).Place.Values)
	again, err := coordinator.ParseConstraint("spread over rack")
	require.NoError(t, err)
	s.rules.Constraints = []coordinator.Constraint{again}
	s.play(coordinator.Scale{At: s.now, Target: 5})
	assert.Equal(t, []string{"5@new/1"}, launches(s.offers(with("old", "rack:r1"), with("new", "rack:r9"))), "whatever was asked for first")
}

// A constraint that is new knows where nodes are only after their agents made an offer.
func TestAConstraintThatIsNewCountsWhatIsThere(t *testing.T) {
	s := newScript(t, 2)
	s.offers(with("a1", "rack:x"))
	s.report(1, coordinator.Alive, ready("uuid"))
	s.rules.Constraints = constraints(t, "at most 1 per rack")
	got := s.offers(with("a1", "rack:x"), with("a2", "rack:x"))
	assert.Empty(t, launches(got))
	assert.Equal(t, "rack=x", s.node(1).Place.Values)
	assert.Equal(t, []string{"2@a3/1"}, launches(s.offers(with("a2", "rack:x"), with("a3", "rack:y"))))
}

func TestASpreadThatIsNewCountsWhatIsThere(t *testing.T) {
	for _, before := range []string{"", "row"} {
		s := newScript(t, 2)
		s.rules.SpreadBy = before
		s.offers(with("a1", "rack:x", "row:y"))
		s.report(1, coordinator.Alive, ready("uuid"))
		s.rules.SpreadBy = "rack"
		assert.Equal(t, []string{"2@a3/1"}, launches(s.offers(with("a1", "rack:x"), with("a2", "rack:x"), with("a3", "rack:y"))))
	}
}

func TestNodesStayInTheMastersRegion(t *testing.T) {
	s := newScript(t, 2)
	near, far := with("a1", "@region:here", "@zone:1"), with("a2", "@region:there", "@zone:2")
	assert.Equal(t, []string{"1@a2/1"}, launches(s.offers(far)), "a master that has no region has no own one")
	s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1", Region: "here"})
	other := with("a3", "@region:there", "@zone:2")
	got := s.offers(other)
	assert.Equal(t, "no offer fits: 1 in region there, which is not the master's", of[coordinator.Note](got)[0].Text)
	assert.Equal(t, []string{"2@a1/1"}, launches(s.offers(other, near)))
	for _, text := range []string{"@region is there", "at most 2 per @region", "spread over @region"} {
		s := newScript(t, 1)
		s.rules.Constraints = constraints(t, text)
		s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f1", Region: "here"})
		assert.Equal(t, []string{"1@a3/1"}, launches(s.offers(other)), text)
	}
}

// Whatever is offered, hard constraints hold for what is launched, and what is not launched lacks something.
func TestConstraintsHoldWhateverIsOffered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &script{rules: coordinator.Rules{CPUs: 1000, MemoryMB: 1024, Fencing: true, MaxPerHost: rapid.IntRange(1, 2).Draw(t, "per host")}, now: t0}
		most, perHost := rapid.IntRange(1, 3).Draw(t, "most"), rapid.IntRange(1, 2).Draw(t, "of the group")
		s.rules.Constraints = constraints(t, fmt.Sprintf("at most %d per rack", most), "same zone", "disk is ssd", "spread over row", fmt.Sprintf("at most %d per @host", perHost))
		s.state = coordinator.NewState("es", rapid.IntRange(1, 8).Draw(t, "nodes"))
		s.play(coordinator.Subscribed{At: s.now, FrameworkID: "f"})
		rack := func(host int) string { return fmt.Sprintf("r%d", host/2) }
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			s.after(time.Minute)
			var offers []coordinator.Offer
			for i, host := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 8).Draw(t, "hosts") {
				o := with(fmt.Sprintf("a%d", host), "rack:"+rack(host), fmt.Sprintf("zone:z%d", host/5), "disk:"+[]string{"ssd", "ssd", "hdd"}[host%3], fmt.Sprintf("row:%d", host%4))
				o.ID, o.Role = fmt.Sprintf("o%d", i), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "role")
				offers = append(offers, o)
			}
			got := s.offers(offers...)
			for _, d := range of[coordinator.Decline](got) {
				require.NotEmpty(t, d.Reason)
			}
			for _, l := range of[coordinator.Launch](got) {
				for _, id := range l.Offers {
					require.Equal(t, l.Task.Place.Agent, offers[id[1]-'0'].Agent)
					require.Equal(t, offers[l.Offers[0][1]-'0'].Role, offers[id[1]-'0'].Role, "one role")
				}
			}
			racks, zones, hosts := map[string]int{}, map[string]int{}, map[string]int{}
			for _, n := range s.state.Nodes {
				if n.Phase == coordinator.Vacant {
					continue
				}
				var host int
				_, err := fmt.Sscanf(n.Place.Agent, "a%d", &host)
				require.NoError(t, err)
				racks[rack(host)]++
				zones[fmt.Sprint(host/5)]++
				hosts[n.Place.Host]++
				require.NotEqual(t, 2, host%3, "a disk of its kind")
			}
			for _, nodes := range racks {
				require.LessOrEqual(t, nodes, most)
			}
			require.LessOrEqual(t, len(zones), 1)
			for _, nodes := range hosts {
				require.LessOrEqual(t, nodes, min(perHost, s.rules.MaxPerHost))
			}
			for _, n := range s.state.Nodes {
				if n.Phase != coordinator.Vacant && rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
					s.report(n.ID, rapid.SampledFrom([]coordinator.Outcome{coordinator.Over, coordinator.Away, coordinator.Alive}).Draw(t, "how"))
				}
			}
		}
	})
}
