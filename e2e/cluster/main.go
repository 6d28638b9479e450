// Command cluster is a Kubernetes control plane in one program: its first
// argument names the part to be, and everything after it is that part's own
// command line.
//
//	cluster etcd --data-dir …
//	cluster kube-apiserver --etcd-servers …
//	cluster kube-controller-manager --kubeconfig …
//	cluster kube-scheduler --kubeconfig …
//
// The parts are Kubernetes' and etcd's own, linked in as libraries, so that the
// end-to-end tests need neither a container engine nor downloaded binaries.
// How the parts are started and wired to each other is not decided here: see
// e2e/src/cluster.rs.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the build's version as a metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// commands are the parts that follow Kubernetes' conventions for a command line.
var commands = map[string]func() *cobra.Command{
	"kube-apiserver":          func() *cobra.Command { return apiserver.NewAPIServerCommand() },
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	part := os.Args[1]
	if part == "etcd" {
		etcdmain.Main(os.Args[1:])
		return
	}
	command, known := commands[part]
	if !known {
		usage()
	}
	// The parts read their own name and flags from os.Args, and cobra does too.
	os.Args = append([]string{part}, os.Args[2:]...)
	os.Exit(cli.Run(command()))
}

func usage() {
	parts := []string{"etcd"}
	for part := range commands {
		parts = append(parts, part)
	}
	sort.Strings(parts)
	fmt.Fprintf(os.Stderr, "usage: %s PART [FLAG…]\nPART is one of: %s\n",
		filepath.Base(os.Args[0]), strings.Join(parts, ", "))
	os.Exit(2)
}
