package ledger

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cluster is a stand-in that may deny, forget and answer in part.
type cluster struct {
	stored map[string]bool
	refuse map[string]int // ID → how often it is still refused
	read   func()         // called after all IDs were read
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/_bulk"):
		c.bulk(w, r)
	case strings.HasSuffix(r.URL.Path, "/_search"):
		var hits []string
		for id := range c.stored {
			hits = append(hits, fmt.Sprintf(`{"_id":%q}`, id))
		}
		fmt.Fprintf(w, `{"_scroll_id":"s","hits":{"hits":[%s]}}`, strings.Join(hits, ","))
	case strings.HasSuffix(r.URL.Path, "/scroll") && c.read != nil:
		c.read()
		fallthrough
	default:
		fmt.Fprint(w, `{"hits":{"hits":[]}}`)
	}
}

func (c *cluster) bulk(w http.ResponseWriter, r *http.Request) {
	var items []string
	for lines := bufio.NewScanner(r.Body); lines.Scan(); lines.Scan() {
		var action struct {
			Index struct {
				ID string `json:"_id"`
			} `json:"index"`
		}
		_ = json.Unmarshal(lines.Bytes(), &action)
		status := http.StatusCreated
		if c.refuse[action.Index.ID] > 0 {
			c.refuse[action.Index.ID]--
			status = http.StatusTooManyRequests
		} else {
			c.stored[action.Index.ID] = true
		}
		items = append(items, fmt.Sprintf(`{"index":{"_id":%q,"status":%d}}`, action.Index.ID, status))
	}
	fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(items, ","))
}

func open(t *testing.T, c *cluster) *Ledger {
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	dead := httptest.NewServer(nil)
	dead.Close()
	nodes := func() []string { return []string{dead.Listener.Addr().String(), server.Listener.Addr().String()} }
	return New(server.Client(), nodes, "i")
}

var three = []Document{{ID: "a", Source: 1}, {ID: "b", Source: 2}, {ID: "c", Source: 3}}

func TestOnlyWhatWasAcknowledgedCounts(t *testing.T) {
	c := &cluster{stored: map[string]bool{}, refuse: map[string]int{"b": 1}}
	l := open(t, c)
	left, err := l.Write(t.Context(), three)
	require.ErrorContains(t, err, "document b: status 429")
	assert.Equal(t, three[1:2], left)
	assert.Equal(t, 2, l.Acknowledged())
}

func TestWhatWasRefusedIsWrittenAgain(t *testing.T) {
	l := open(t, &cluster{stored: map[string]bool{}, refuse: map[string]int{"a": 2, "c": 1}})
	require.NoError(t, l.WriteAll(t.Context(), three, 2))
	account, err := l.Audit(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Account{Acknowledged: 3, Found: 3, ChecksumOK: true}, account)
}

func TestALostDocumentIsNoticed(t *testing.T) {
	c := &cluster{stored: map[string]bool{}}
	l := open(t, c)
	require.NoError(t, l.WriteAll(t.Context(), three, 2))
	delete(c.stored, "b")
	c.stored["never acknowledged"] = true
	account, err := l.Audit(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Account{Acknowledged: 3, Found: 2, Missing: []string{"b"}}, account)
}

func TestWhatIsWrittenDuringAnAuditIsLeftToTheNext(t *testing.T) {
	c := &cluster{stored: map[string]bool{}}
	l := open(t, c)
	require.NoError(t, l.WriteAll(t.Context(), three[:1], 1))
	c.read = func() { require.NoError(t, l.WriteAll(t.Context(), three[1:], 2)) }
	account, err := l.Audit(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Account{Acknowledged: 1, Found: 1, ChecksumOK: true}, account)
	assert.Equal(t, 3, l.Acknowledged())
}

func TestPackageRecordsAreTakenApart(t *testing.T) {
	got := parsePackages([]byte("Package: a\nVersion: 1\nArchitecture: all\nDescription: one\n two\n .\n\n\nPackage: b\nHomepage: http://x:1/\n"))
	require.Len(t, got, 2)
	assert.Equal(t, "a_1_all_0", got[0].ID)
	assert.Equal(t, "one\ntwo\n.", got[0].Source.(map[string]string)["description"])
	assert.Equal(t, map[string]string{"package": "b", "homepage": "http://x:1/"}, got[1].Source)
}
