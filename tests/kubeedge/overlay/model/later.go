// What KubeEdge names of its message bus that the newest published one does not have. Both ends of
// these messages that matter here are in edgecore.

package model

const (
	ResourceTypeEvent    = "event"
	ResourceTypeSaAccess = "serviceaccountaccess"
	ResourceTypeCSR      = "certificatesigningrequest"
	ResourceTypeK8sCA    = "k8s/ca.crt"
)
