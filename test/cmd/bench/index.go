package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mooring/plugin/backend"
	"mooring/test/cell"
	"mooring/test/ledger"
)

const (
	elasticsearch = "elasticsearch:8.19.5"
	indexRounds   = 15
	indexBulk     = 500
	indexDocs     = 10000 // per round
)

// indexer is an Elasticsearch of its own with its data on a volume.
type indexer struct {
	backend string
	cell    *cell.Cell
	host    *cell.Host
	port    int
}

// indexFigure compares bulk indexing on an image with that on a directory: two nodes of Elasticsearch on one host, which
// index the same documents in turn.
func indexFigure(ctx context.Context, c *cell.Cell, h *cell.Host) ([]Figure, error) {
	documents, err := ledger.Packages(ctx)
	if err != nil {
		return nil, err
	}
	documents = documents[:min(indexDocs, len(documents))]
	var pair []indexer
	for i, kind := range []string{backend.KindDir, backend.KindImage} {
		pair = append(pair, indexer{backend: kind, cell: c, host: h, port: 9280 + i})
	}
	rates, err := race(ctx, pair, documents)
	for _, x := range pair {
		err = errors.Join(err, x.stop(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return nil, err
	}
	ratios := make([]float64, indexRounds)
	for round := range ratios {
		ratios[round] = rates[1][round] / rates[0][round]
	}
	f := against("Elasticsearch bulk indexing: on an image / on a directory", "documents/s", median(rates[1]), median(rates[0]),
		">= 0.95", func(float64) bool { return median(ratios) >= 0.95 })
	f.Ratio, f.Spread = median(ratios), []float64{slices.Min(ratios), slices.Max(ratios)}
	return []Figure{f}, nil
}

// race has each index the documents round by round, after one round that does not count; who begins changes.
func race(ctx context.Context, pair []indexer, documents []ledger.Document) ([2][]float64, error) {
	var rates [2][]float64
	for _, x := range pair {
		if err := x.start(ctx); err != nil {
			return rates, err
		}
	}
	for round := range indexRounds + 1 {
		for turn := range pair {
			i := (turn + round) % len(pair)
			rate, err := pair[i].index(ctx, fmt.Sprint("round", round), documents)
			if err != nil {
				return rates, err
			}
			if round > 0 {
				rates[i] = append(rates[i], rate)
			}
		}
	}
	return rates, nil
}

func (x indexer) name() string { return "bench" + x.backend }

func (x indexer) address() string { return fmt.Sprintf("%s:%d", x.host.Address, x.port) }

func (x indexer) start(ctx context.Context) error {
	_, err := x.host.Docker(ctx, "run", "--detach", "--name", x.name(), "--network", "host",
		"--mount", "type=volume,volume-driver="+cell.PluginName+",volume-opt=backend="+x.backend+",source="+x.name()+"1data,target=/data",
		"--env", "ES_JAVA_OPTS=-Xms1g -Xmx1g", elasticsearch, "-Epath.data=/data", "-Ediscovery.type=single-node", "-Expack.security.enabled=false",
		"-Enetwork.host="+x.host.Address, fmt.Sprint("-Ehttp.port=", x.port), fmt.Sprint("-Etransport.port=", x.port+100))
	return err
}

func (x indexer) stop(ctx context.Context) error {
	_, err := x.host.Docker(ctx, "rm", "--force", x.name())
	return err
}

// index is the rate of documents per second into a new index of one shard, the last flush to disk included.
func (x indexer) index(ctx context.Context, index string, documents []ledger.Document) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	l := ledger.New(x.cell.HTTPClient(), func() []string { return []string{x.address()} }, index)
	for {
		err := l.Create(ctx, 1, 0)
		if err == nil {
			break
		}
		select { // it may only just have been started
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return 0, err
		}
	}
	begin := time.Now()
	if err := l.WriteAll(ctx, documents, indexBulk); err != nil {
		return 0, err
	}
	if err := l.Flush(ctx); err != nil {
		return 0, err
	}
	return float64(len(documents)) / time.Since(begin).Seconds(), nil
}
