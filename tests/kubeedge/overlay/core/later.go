// What KubeEdge calls of its message bus that the newest published one does not have; it is called
// with the feature moduleRestart only, which is off unless it is asked for.

package core

func EnableModuleRestart() {
	panic("moduleRestart is not in this message bus")
}
