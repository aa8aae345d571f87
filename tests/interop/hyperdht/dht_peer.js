// npm hyperdht nodes driven by JSON lines: {id, op, ...} in, {id, value} or {id, error} out.
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const createTestnet = require('hyperdht/testnet')
const NatSampler = require('nat-sampler')
const Relay = require('blind-relay')
const Persistent = require('hyperdht/lib/persistent')
const m = require('hyperdht/lib/messages')
const c = require('compact-encoding')

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const hex = (buffer) => (buffer ? Buffer.from(buffer).toString('hex') : null)
const bytes = (text) => Buffer.from(text, 'hex')
const address = ({ host, port }) => [host, port]
const place = ([host, port]) => ({ host, port })
const peer = ({ publicKey, relayAddresses }) => ({ key: hex(publicKey), relays: relayAddresses.map(address) })
const named = ({ relayThrough, ...options } = {}) => relayThrough ? { ...options, relayThrough: bytes(relayThrough) } : options
const nodes = []
let testnet = null
let server = null

const ops = {
  // `size` persistent nodes, in a network of their own or joined to `bootstrap`
  async testnet ({ size, bootstrap, host }) {
    testnet = await createTestnet(size, { host, bootstrap: (bootstrap || []).map(place) })
    return { bootstrap: testnet.bootstrap.map(address), nodes: testnet.nodes.map((node) => address(node.address())) }
  },
  async stop () {
    await testnet.destroy()
  },
  // ordinary nodes, by number
  async join ({ bootstrap, options }) {
    const node = new DHT({ bootstrap: bootstrap.map(place), host: '127.0.0.1', port: 0, ...options })
    await node.fullyBootstrapped()
    return { node: nodes.push(node) - 1 }
  },
  async state ({ node }) {
    const { host, port, firewalled, ephemeral, table } = nodes[node]
    return { host, port, firewalled, ephemeral, nodes: table.size }
  },
  // a node that takes itself for firewalled looks whether it is: true if it is open now
  async look ({ node }) {
    await nodes[node]._updateNetworkState(true)
    return nodes[node].remoteAddress() !== null
  },
  async ping ({ node, to }) {
    const reply = await nodes[node].ping(place(to))
    return { to: address(reply.to), id: hex(reply.from.id) }
  },
  async delayedPing ({ node, to, delay }) {
    const reply = await nodes[node].delayedPing(place(to), delay)
    return { to: address(reply.to) }
  },
  // a bare request: what a node answers to it
  async request ({ node, to, command, target, value, token }) {
    const reply = await nodes[node].request(
      { command, target: target && bytes(target), value: value && bytes(value), token: token && bytes(token) }, place(to), { retry: false })
    return { error: reply.error, token: hex(reply.token), value: hex(reply.value), closer: (reply.closerNodes || []).length }
  },
  async findNode ({ node, target }) {
    const query = nodes[node].findNode(bytes(target))
    await query.finished()
    return { closest: query.closestNodes.map(address) }
  },
  async announce ({ node, topic, seed, relays, bump }) {
    const query = nodes[node].announce(bytes(topic), DHT.keyPair(bytes(seed)), relays.map(place), { bump })
    await query.finished()
    return { closest: query.closestNodes.map(address) }
  },
  async unannounce ({ node, topic, seed }) {
    await nodes[node].unannounce(bytes(topic), DHT.keyPair(bytes(seed)))
  },
  async lookup ({ node, topic }) {
    const replies = []
    for await (const reply of nodes[node].lookup(bytes(topic))) replies.push({ from: address(reply.from), bump: reply.bump, peers: reply.peers.map(peer) })
    return { replies }
  },
  async findPeer ({ node, key }) {
    const replies = []
    for await (const reply of nodes[node].findPeer(bytes(key))) replies.push({ from: address(reply.from), peer: peer(reply.peer) })
    return { replies }
  },
  async mutablePut ({ node, seed, value, seq }) {
    await nodes[node].mutablePut(DHT.keyPair(bytes(seed)), bytes(value), { seq })
  },
  async mutableGet ({ node, key, seq }) {
    const found = await nodes[node].mutableGet(bytes(key), { seq })
    return found && { seq: found.seq, value: hex(found.value) }
  },
  async immutablePut ({ node, value }) {
    return { hash: hex((await nodes[node].immutablePut(bytes(value))).hash) }
  },
  async immutableGet ({ node, hash }) {
    const found = await nodes[node].immutableGet(bytes(hash))
    return found && { value: hex(found.value) }
  },
  // a server announces its own key and keeps three relays
  async listen ({ node, seed }) {
    server = nodes[node].createServer()
    await server.listen(DHT.keyPair(bytes(seed)))
    return { key: hex(server.publicKey), relays: server.relayAddresses.map(address), address: address(nodes[node].address()) }
  },
  async unlisten () {
    await server.close()
  },
  // a server that echoes, a client that is echoed, and a blind relay between them
  async serve ({ node, seed, options }) {
    const echo = nodes[node].createServer({ ...named(options) }, (socket) => {
      socket.on('error', () => {})
      socket.on('data', (data) => socket.write(data)).on('end', () => socket.end())
    })
    await echo.listen(DHT.keyPair(bytes(seed)))
    return { key: hex(echo.publicKey), relays: echo.relayAddresses.map(address) }
  },
  // a swarm that serves a topic and echoes
  async swarm ({ node, topic, seed }) {
    const swarm = new Hyperswarm({ dht: nodes[node], seed: bytes(seed) })
    swarm.on('connection', (socket) => {
      socket.on('error', () => {})
      socket.on('data', (data) => socket.write(data))
    })
    await swarm.join(bytes(topic), { server: true, client: false }).flushed()
    return { key: hex(swarm.keyPair.publicKey) }
  },
  async call ({ node, key, data, options, stay }) {
    const socket = nodes[node].connect(bytes(key), named(options))
    const want = bytes(data)
    const got = []
    let size = 0
    await new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.on('data', (piece) => { got.push(piece); size += piece.length; if (size >= want.length) resolve() })
      socket.write(want)
    })
    if (stay) await new Promise((resolve) => setTimeout(resolve, stay))
    const { remoteHost, remotePort } = socket.rawStream
    socket.end()
    return { echoed: Buffer.concat(got).equals(want), remote: hex(socket.remotePublicKey), address: [remoteHost, remotePort] }
  },
  async relay ({ node, seed }) {
    const dht = nodes[node]
    const blind = new Relay.Server({ createStream: (opts) => dht.createRawStream({ ...opts, framed: true }) })
    const door = dht.createServer((socket) => {
      socket.on('error', () => {})
      blind.accept(socket, { id: socket.remotePublicKey }).on('error', () => {})
    })
    await door.listen(DHT.keyPair(bytes(seed)))
    return { key: hex(door.publicKey) }
  },
  async punches ({ node }) {
    const { punches, relaying } = nodes[node].stats
    return { ...punches, relayed: relaying.successes }
  },
  // what npm signs, byte for byte
  async sign ({ seed, target, token, nodeId, relays, refresh, bump, seq, value }) {
    const keyPair = DHT.keyPair(bytes(seed))
    const ann = { peer: { publicKey: keyPair.publicKey, relayAddresses: relays.map(place) }, refresh: bytes(refresh), signature: null, bump }
    ann.signature = Persistent.signAnnounce(bytes(target), bytes(token), bytes(nodeId), ann, keyPair)
    const unann = { peer: { publicKey: keyPair.publicKey, relayAddresses: [] }, refresh: null, signature: null }
    unann.signature = Persistent.signUnannounce(bytes(target), bytes(token), bytes(nodeId), unann, keyPair)
    const put = { publicKey: keyPair.publicKey, seq, value: bytes(value), signature: Persistent.signMutable(seq, bytes(value), keyPair) }
    return {
      announce: hex(c.encode(m.announce, ann)),
      unannounce: hex(c.encode(m.announce, unann)),
      mutablePut: hex(c.encode(m.mutablePutRequest, put)),
      mutableValue: hex(c.encode(m.mutableGetResponse, put))
    }
  },
  // what npm nat-sampler believes after each of these samples
  async sample ({ samples }) {
    const sampler = new NatSampler()
    return samples.map(([host, port]) => { sampler.add(host, port); return [sampler.host, sampler.port] })
  }
}

let left = ''
process.stdin.on('data', (data) => {
  const lines = (left + data).split('\n')
  left = lines.pop()
  for (const line of lines) {
    const { id, op, ...args } = JSON.parse(line)
    ops[op](args).then((value) => say({ id, value: value === undefined ? null : value }), (error) => say({ id, error: error.code || error.message }))
  }
}).on('end', () => process.exit(0))
