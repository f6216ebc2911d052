// Command gnomon-kubernetes is etcd, kube-apiserver, kube-controller-manager, kube-scheduler and
// kubelet in one program, for tests: the first argument says which one to be. They share most of
// their code, so that one program is built and linked in a third of the time of five.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"

	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	if len(os.Args) < 2 {
		refuse()
	}
	name := os.Args[1]
	// Each component reads its own arguments, as if it had been started alone.
	os.Args = append([]string{name}, os.Args[2:]...)
	var command *cobra.Command
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
		return
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllers.NewControllerManagerCommand()
	case "kube-scheduler":
		command = scheduler.NewSchedulerCommand()
	case "kubelet":
		command = kubelet.NewKubeletCommand(context.Background())
	default:
		refuse()
	}
	os.Exit(cli.Run(command))
}

func refuse() {
	fmt.Fprintln(os.Stderr, "usage: gnomon-kubernetes etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet [ARGUMENTS]")
	os.Exit(2)
}
