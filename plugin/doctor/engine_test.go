package doctor_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring/plugin/doctor"
)

func TestWhatDockerSaysIsComparedWithTheDriver(t *testing.T) {
	web := doctor.Container{Name: "web", Running: true, Volumes: []string{"v"}}
	stopped := doctor.Container{Name: "stopped", Volumes: []string{"v"}}
	for name, c := range map[string]struct {
		containers []doctor.Container
		mounts     map[string]int
		want       []doctor.Kind
	}{
		"all fits":                     {[]doctor.Container{web, stopped}, map[string]int{"v": 1, "idle": 0}, nil},
		"stopped, not mounted":         {[]doctor.Container{stopped}, map[string]int{"v": 0}, nil},
		"mounted for docker cp":        {[]doctor.Container{stopped}, map[string]int{"v": 1}, nil},
		"volume gone":                  {[]doctor.Container{stopped}, nil, []doctor.Kind{doctor.ContainerWithoutVolume}},
		"running without mount":        {[]doctor.Container{web, stopped}, map[string]int{"v": 0}, []doctor.Kind{doctor.ContainerNotMounted}},
		"mounted for nobody":           {nil, map[string]int{"v": 2}, []doctor.Kind{doctor.MountWithoutContainer}},
		"one of two volumes not there": {[]doctor.Container{{Name: "c", Volumes: []string{"w", "v"}}}, map[string]int{"v": 0}, []doctor.Kind{doctor.ContainerWithoutVolume}},
	} {
		t.Run(name, func(t *testing.T) {
			var kinds []doctor.Kind
			for _, f := range doctor.ExamineEngine(c.containers, c.mounts) {
				kinds = append(kinds, f.Kind)
				assert.NotEmpty(t, f.Volume)
				assert.NotEmpty(t, f.Fix)
			}
			assert.Equal(t, c.want, kinds)
		})
	}
	found := doctor.ExamineEngine([]doctor.Container{web, {Name: "api", Running: true, Volumes: []string{"v"}}, stopped}, map[string]int{"v": 0})
	assert.Equal(t, "Docker's container api, web runs with it, and the driver has it not mounted for any", found[0].What)
}

func TestWhatIsWrongInOneLookOnlyIsNot(t *testing.T) {
	a, b := doctor.Finding{Kind: doctor.ContainerNotMounted, Volume: "a"}, doctor.Finding{Kind: doctor.ContainerNotMounted, Volume: "b"}
	assert.Equal(t, []doctor.Finding{a}, doctor.InBoth([]doctor.Finding{a, b}, []doctor.Finding{{Kind: doctor.ContainerNotMounted, Volume: "a", What: "else"}}))
}
