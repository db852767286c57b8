package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOptionsForVolumesComeTogether(t *testing.T) {
	line, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--external-volume-driver=rexray/ebs", "--external-volume-option=iops=150",
		"--external-volume-options=size=100,volumeType=gp2,tag=a=b,iops=150,overwriteFs=false")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"iops": "150", "size": "100", "volumeType": "gp2", "tag": "a=b", "overwriteFs": "false"},
		line.Scheduler.rules().Settings.DriverOptions)
}

func TestBadOptionsForVolumesAreExplained(t *testing.T) {
	for _, c := range []struct{ driver, options, says string }{
		{"any", "size", `external-volume-options: "size" is no option, use NAME=VALUE,NAME=VALUE`},
		{"any", "size=1,=2", `external-volume-options: "=2" is no option`},
		{"any", "size=1,", `external-volume-options: "" is no option`},
		{"any", "size=1,size=2", `external-volume-options: size is given as "1" and as "2"`},
		{"any", "iops=200", `external-volume-options: iops is given as "150" and as "200"`},
		{"any", "overwriteFs=true", "external volume option overwriteFs=true: a new file system at every mount would take all documents with it"},
		{"any", "overwritefs=yes", "external volume option overwritefs=yes: a new file system at every mount"},
		{"rexray", "size=100g", "external volume option size=100g: REX-Ray takes a whole number of GB without a unit"},
		{"rexray/ebs:latest", "size=-1", "external volume option size=-1: REX-Ray takes a whole number"},
	} {
		_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--external-volume-driver="+c.driver, "--external-volume-option=iops=150", "--external-volume-options="+c.options)
		require.ErrorContains(t, err, c.says)
	}
	_, err := parse(t, "scheduler", "--master=m:5050", "--image=e", "--external-volume-options=size=100g")
	require.NoError(t, err, "our own driver wants a unit")
}
