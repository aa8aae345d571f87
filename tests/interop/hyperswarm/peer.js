// The npm side of the swarm tests: one JSON command a line in, one JSON event a line out.
//   {do: 'testnet', size}                                  -> {event: 'testnet', bootstrap}
//   {do: 'swarm', name, bootstrap, open}                   -> {event: 'swarm', name, key}
//   {do: 'join', name, topic, server, client}              -> {event: 'joined', name} once flushed
//   {do: 'leave', name, topic}                             -> {event: 'left', name}
//   {do: 'end', name}                                      -> {event: 'ended', name}
// and {event: 'connection', name, key, initiator} for every connection, on which everything is echoed.
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const createTestnet = require('hyperdht/testnet')

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const swarms = new Map()
const topicOf = (line) => Buffer.from(line.topic, 'hex')
let testnet = null

const commands = {
  async testnet ({ size }) {
    testnet = await createTestnet(size)
    const { host, port } = testnet.bootstrap[0]
    say({ event: 'testnet', bootstrap: `${host}:${port}` })
  },
  async swarm ({ name, bootstrap, open }) {
    const [host, port] = bootstrap.split(':')
    const options = open ? { firewalled: false } : { quickFirewall: false, ephemeral: true }
    const dht = new DHT({ bootstrap: [{ host, port: Number(port) }], host: '127.0.0.1', ...options })
    const swarm = new Hyperswarm({ dht })
    swarms.set(name, swarm)
    swarm.on('connection', (connection) => {
      connection.on('error', () => {})
      connection.on('data', (data) => connection.write(data))
      connection.on('close', () => say({ event: 'closed', name, key: connection.remotePublicKey.toString('hex') }))
      say({ event: 'connection', name, key: connection.remotePublicKey.toString('hex'), initiator: connection.isInitiator })
    })
    await dht.fullyBootstrapped()
    say({ event: 'swarm', name, key: swarm.keyPair.publicKey.toString('hex') })
  },
  async join ({ name, server, client, ...line }) {
    await swarms.get(name).join(topicOf(line), { server, client }).flushed()
    say({ event: 'joined', name })
  },
  async leave ({ name, ...line }) {
    await swarms.get(name).leave(topicOf(line))
    say({ event: 'left', name })
  },
  async end ({ name }) {
    await swarms.get(name).destroy()
    swarms.delete(name)
    say({ event: 'ended', name })
  }
}

require('readline').createInterface({ input: process.stdin })
  .on('line', (text) => {
    const line = JSON.parse(text)
    commands[line.do](line).catch((error) => say({ event: 'error', do: line.do, message: error.stack }))
  })
  .on('close', () => process.exit(0))
