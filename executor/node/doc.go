// Package node is the first process in the container of an Elasticsearch node. It makes sure that the two volumes are really
// there and are this node's own, writes the settings for the version about to start, starts Elasticsearch without root's
// rights, and watches over it: no Elasticsearch without an executor, none on a data volume that fails.
//
// It never asks anybody anything; what it is told and what it tells goes through the run directory. Start at [Run].
package node
