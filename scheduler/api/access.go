package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"mooring/internal/secret"
)

// Access says who may use the API. The zero value lets everybody do everything.
//
// Each file has one credential in a line: a token, or USER:PASSWORD for clients that know HTTP Basic authentication only. The files
// are read at each request.
type Access struct {
	ReadFile  string // of who may read; "": everybody
	WriteFile string // of who may give orders, and read; "": everybody
}

// Check reports what is wrong with the files.
func (a Access) Check() error {
	if a.ReadFile != "" && a.WriteFile == "" {
		return errors.New("an API that not everybody may read, but everybody may give orders to: give --api-write-file, too")
	}
	_, errRead := lines(a.ReadFile)
	_, errWrite := lines(a.WriteFile)
	return errors.Join(errRead, errWrite)
}

// open are the paths that need no credential. An agent's fetcher has none to show for the program, which is no secret, nor has a
// supervisor for its probes.
var open = map[string]bool{ArtifactPath: true, "/healthz": true, "/readyz": true}

// known lets through who may do what is asked for. A scheduler that stands by passes the credential on with the order, and the
// leader looks at it again.
func (a *server) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := a.access.admit(r)
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		if p := (problem{}); errors.As(err, &p) && p.status == http.StatusUnauthorized {
			w.Header().Add("WWW-Authenticate", "Bearer")
			w.Header().Add("WWW-Authenticate", `Basic realm="mooring"`)
		}
		a.respond(w, r, nil, err)
	})
}

func (a Access) admit(r *http.Request) error {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if reads && (a.ReadFile == "" || open[r.URL.Path]) || a.WriteFile == "" {
		return nil
	}
	shown := credential(r)
	if shown == "" {
		return problem{http.StatusUnauthorized, "this scheduler wants to know who asks: give --token-file or set MOORING_TOKEN_FILE"}
	}
	writers, err := lines(a.WriteFile)
	if err != nil || has(writers, shown) {
		return err
	}
	readers, err := lines(a.ReadFile)
	switch {
	case err != nil:
		return err
	case !has(readers, shown):
		return problem{http.StatusUnauthorized, "this scheduler does not know the token, or user and password, that was shown: see --token-file"}
	case !reads:
		return problem{http.StatusForbidden, "who showed this token, or user and password, may read but give no orders"}
	}
	return nil
}

// credential is what a request shows: a token, or user:password; empty if nothing.
func credential(r *http.Request) string {
	if user, password, ok := r.BasicAuth(); ok {
		return user + ":" + password
	}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// lines are the credentials in a file.
func lines(file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	text, err := secret.Read(file)
	if err != nil {
		return nil, fmt.Errorf("who may use the API: %w", err)
	}
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all, nil
}

// has takes the same time wherever a wrong credential differs from a right one.
func has(all []string, shown string) bool {
	want, found := sha256.Sum256([]byte(shown)), 0
	for _, one := range all {
		sum := sha256.Sum256([]byte(one))
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return found == 1
}
