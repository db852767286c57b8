// Package executor runs one Elasticsearch node for the scheduler: it stands between a Mesos agent, whose task it is, and the
// container of the node. It starts the container, watches it, tells of it, and ends it. One executor runs one task.
//
// A terminal state is sent only when nothing of the node lives any more and its volumes are unmounted, because the scheduler
// launches the node elsewhere on that word. Whoever cannot be sure of it sends TASK_LOST, which says so. Under the Docker
// containerizer the executor lives in the node's own container, which still holds the volumes when the last word is sent;
// no process uses them then.
//
// Start at [Run]; the life of one launch is in life.go, what is said to the agent in agent.go.
package executor
