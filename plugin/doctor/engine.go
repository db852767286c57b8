package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Findings about what the Docker Engine says.
const (
	ContainerWithoutVolume Kind = "container-without-volume"
	ContainerNotMounted    Kind = "container-not-mounted"
	MountWithoutContainer  Kind = "mount-without-container"
)

// Container is one of the Docker Engine's that asks for volumes of this driver.
type Container struct {
	Name    string
	Running bool
	Volumes []string
}

// ExamineEngine returns what does not fit between the Docker Engine's containers and the volumes that the driver of the same
// host knows, with the number of mounts of each. The two cannot be looked at in one moment, so only what is wrong in several
// looks is so.
func ExamineEngine(containers []Container, mounts map[string]int) []Finding {
	users, running := map[string][]string{}, map[string][]string{}
	for _, c := range containers {
		for _, v := range c.Volumes {
			users[v] = append(users[v], c.Name)
			if c.Running {
				running[v] = append(running[v], c.Name)
			}
		}
	}
	var found []Finding
	for _, v := range slices.Sorted(maps.Keys(users)) {
		mounted, known := mounts[v]
		switch {
		case !known:
			found = append(found, Finding{Kind: ContainerWithoutVolume, Volume: v,
				What: fmt.Sprintf("Docker's container %s wants it, and it is not there", list(users[v])),
				Why:  "when that container is started Docker makes a new, empty volume of this name",
				Fix:  "look for it with `mooring volumes trash`, or remove the container"})
		case mounted == 0 && len(running[v]) > 0:
			found = append(found, Finding{Kind: ContainerNotMounted, Volume: v,
				What: fmt.Sprintf("Docker's container %s runs with it, and the driver has it not mounted for any", list(running[v])),
				Why:  "the container writes to a volume that this host may have lost, or to the host's own disk",
				Fix:  "stop the container and start it again"})
		}
	}
	for _, v := range slices.Sorted(maps.Keys(mounts)) {
		if mounts[v] > 0 && len(users[v]) == 0 {
			found = append(found, Finding{Kind: MountWithoutContainer, Volume: v,
				What: "it is mounted, and Docker knows no container that wants it",
				Why:  "other hosts are refused as long as it is; a container that Docker has lost may still write it",
				Fix:  "`mooring volumes inspect` shows which processes have it: end them, then the driver gives it back"})
		}
	}
	return found
}

// InBoth keeps the findings of one look that another one has, too.
func InBoth(one, other []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(one), func(f Finding) bool {
		return !slices.ContainsFunc(other, func(o Finding) bool { return o.Kind == f.Kind && o.Volume == f.Volume })
	})
}

func list(names []string) string {
	slices.Sort(names)
	return strings.Join(names, ", ")
}
