// The AWS IoT device SDK for JavaScript, version 2: MQTT 5 over mTLS.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { iot, iotshadow, mqtt5 } from 'aws-iot-device-sdk-v2'

const [port, thingName, certificate, key, ca] = process.argv.slice(2)
const builder = iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPath(
  'localhost', certificate, key)
builder.withCertificateAuthorityFromPath(undefined, ca)
builder.withPort(Number(port))
builder.withConnectProperties({ clientId: thingName, keepAliveIntervalSeconds: 30 })
const client = new mqtt5.Mqtt5Client(builder.build())
const connected = once(client, mqtt5.Mqtt5Client.CONNECTION_SUCCESS)
client.start()
await connected

const shadows = iotshadow.IotShadowClientv2.newFromMqtt5(client, {
  maxRequestResponseSubscriptions: 4, maxStreamingSubscriptions: 4, operationTimeoutInSeconds: 10,
})
const refused = async (promise, code) => {
  const error = await promise.then(() => assert.fail('not refused'), (error) => error)
  assert.equal(error.modeledError?.code, code)
}

await refused(shadows.getShadow({ thingName }), 404)
const stream = shadows.createShadowDeltaUpdatedStream({ thingName })
const established = once(stream, 'subscriptionStatus')
stream.open()
await established
const told = once(stream, 'incomingPublish')
const updated = await shadows.updateShadow({ thingName, state: { desired: { led: 'on' } } })
assert.equal(updated.version, 1)
const [delta] = await told
assert.deepEqual(delta.message.state, { led: 'on' })
const found = await shadows.getShadow({ thingName })
assert.deepEqual(found.state.delta, { led: 'on' })
await refused(shadows.updateShadow({ thingName, version: 9, state: { desired: { led: 'off' } } }), 409)
assert.equal((await shadows.deleteShadow({ thingName })).version, 1)

stream.close()
shadows.close()
const stopped = once(client, mqtt5.Mqtt5Client.STOPPED)
client.stop()
await stopped
client.close()
console.log('passed')
process.exit(0)
