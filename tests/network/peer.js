// The npm side of the NAT tests, beside peer.py: one JSON command a line in, one JSON answer a line out.
//   node peer.js middle FIRST COUNT       DHT nodes on consecutive addresses from FIRST, and a blind relay's server
//   node peer.js party HOST:PORT          a machine: serve, connect, status, close; every serve and connect is a node of its own
const readline = require('readline')
const DHT = require('hyperdht')
const { Server: Relay } = require('blind-relay')

const [role, ...rest] = process.argv.slice(2)
const PORT = 49737
const LIMIT = 60000
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const now = () => Number(process.hrtime.bigint()) / 1e6
const nodes = new Set()

const address = (first, n) => first.replace(/\d+$/, (last) => String(Number(last) + n))

async function middle (first, count) {
  const seed = DHT.bootstrapper(PORT, first, { host: first })
  await seed.fullyBootstrapped()
  const bootstrap = [{ host: first, port: PORT }]
  const made = []
  for (let n = 1; n < Number(count); n++) {
    const node = new DHT({ host: address(first, n), port: PORT, bootstrap, ephemeral: false, firewalled: false })
    made.push(node.fullyBootstrapped())
    nodes.add(node)
  }
  await Promise.all(made)
  const [node] = nodes
  const relay = new Relay({ createStream: (opts) => node.createRawStream({ ...opts, framed: true }) })
  const server = node.createServer({ shareLocalAddress: false }, (socket) => {
    socket.on('error', () => {})
    relay.accept(socket, { id: socket.remotePublicKey }).on('error', () => {})
  })
  await server.listen()
  say({ ready: true, bootstrap: `${first}:${PORT}`, relay: server.publicKey.toString('hex'), relayHost: address(first, 1) })
}

function party (bootstrapAddress) {
  const [host, port] = bootstrapAddress.split(':')
  const bootstrap = [{ host, port: Number(port) }]
  let server = null
  let client = null

  async function fresh () {
    const node = new DHT({ bootstrap })
    nodes.add(node)
    await node.fullyBootstrapped()
    return node
  }

  async function serve ({ relay }) {
    const began = now()
    const node = await fresh()
    const listening = node.createServer({ relayThrough: relay ? Buffer.from(relay, 'hex') : null }, (socket) => {
      socket.on('error', () => {}).on('data', (data) => socket.write(data)).on('end', () => socket.end())
    })
    await listening.listen()
    server = { node, listening }
    return { key: listening.publicKey.toString('hex'), ms: now() - began }
  }

  // `fresh` false: by the node that connected last.
  async function connect ({ key, relay, limit = LIMIT, fresh: anew = true }) {
    const booting = now()
    const node = anew || !client ? await fresh() : client.node
    const began = now()
    const socket = node.connect(Buffer.from(key, 'hex'), { relayThrough: relay ? Buffer.from(relay, 'hex') : null })
    client = { node, socket, ms: {} }
    const outcome = await new Promise((resolve) => {
      const timer = setTimeout(resolve, limit, { ok: false, error: 'nothing within the limit' })
      const done = (value) => { clearTimeout(timer); resolve(value) }
      socket.on('open', () => { client.ms.open = now() - began; socket.write('echo') })
      socket.once('data', () => done({ ok: true }))
      socket.on('error', (error) => done({ ok: false, error: error.code || error.message }))
      socket.on('close', () => done({ ok: false, error: 'closed' }))
    })
    return { ...outcome, boot: began - booting, ms: client.ms.open || null, echo: now() - began, ...seen() }
  }

  // Another echo on the connection that stands, and over what path.
  async function again ({ limit = LIMIT }) {
    const began = now()
    const { socket } = client
    return new Promise((resolve) => {
      const done = (value) => { clearTimeout(timer); resolve({ ...value, ms: now() - began, ...seen() }) }
      const timer = setTimeout(done, limit, { ok: false, error: 'nothing within the limit' })
      if (socket.destroyed) return done({ ok: false, error: 'closed' })
      socket.once('data', () => done({ ok: true }))
      socket.once('close', () => done({ ok: false, error: 'closed' }))
      socket.write('again')
    })
  }

  function seen () {
    const raw = client.socket.rawStream
    return {
      remote: raw && raw.remoteHost ? `${raw.remoteHost}:${raw.remotePort}` : null,
      firewalled: client.node.firewalled,
      punches: client.node.stats.punches
    }
  }

  async function status () {
    const node = (server || client).node
    return { host: node.host, port: node.port, firewalled: node.firewalled, ephemeral: node.ephemeral }
  }

  async function close () {
    if (client) client.socket.on('error', () => {}).destroy()
    for (const node of nodes) await node.destroy({ force: true })
    nodes.clear()
    server = client = null
    return { closed: true }
  }

  return { serve, connect, again, status, close }
}

const commands = role === 'party' ? party(...rest) : {}
const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const words = JSON.parse(line)
  commands[words.do](words).then(say, (error) => say({ ok: false, error: error.code || error.message }))
})
lines.on('close', () => process.exit(0))
if (role === 'middle') middle(...rest)
else say({ ready: true })
