// Command edgecore is KubeEdge's agent of a site, as its own repository builds it. The benchmark of
// Gnomon's agent runs it beside that.
package main

import (
	"os"

	"github.com/kubeedge/kubeedge/edge/cmd/edgecore/app"
	"k8s.io/component-base/logs"
)

func main() {
	command := app.NewEdgeCoreCommand()
	logs.InitLogs()
	err := command.Execute()
	logs.FlushLogs()
	if err != nil {
		os.Exit(1)
	}
}
