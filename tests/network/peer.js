// The npm side of the NAT tests, beside peer.py: one JSON command a line in, one JSON answer a line out.
//   node peer.js middle ADDRESS...        DHT nodes, one on each address, and a blind relay's server
//   node peer.js party HOST:PORT          a machine: serve, connect, again, close, as many at once as it is asked for
const readline = require('readline')
const DHT = require('hyperdht')
const { Server: Relay } = require('blind-relay')

const [role, ...rest] = process.argv.slice(2)
const PORT = 49737
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const now = () => Number(process.hrtime.bigint()) / 1e6

async function middle (first, ...others) {
  const seed = DHT.bootstrapper(PORT, first, { host: first })
  await seed.fullyBootstrapped()
  const bootstrap = [{ host: first, port: PORT }]
  const nodes = []
  const made = []
  for (const host of others) {
    const node = new DHT({ host, port: PORT, bootstrap, ephemeral: false, firewalled: false })
    made.push(node.fullyBootstrapped())
    nodes.push(node)
  }
  await Promise.all(made)
  const [node] = nodes
  const relay = new Relay({ createStream: (opts) => node.createRawStream({ ...opts, framed: true }) })
  const server = node.createServer({ shareLocalAddress: false }, (socket) => {
    socket.on('error', () => {})
    relay.accept(socket, { id: socket.remotePublicKey }).on('error', () => {})
  })
  await server.listen()
  say({ ready: true, bootstrap: `${first}:${PORT}`, relay: server.publicKey.toString('hex'), relayHost: others[0] })
}

function party (bootstrapAddress) {
  const [host, port] = bootstrapAddress.split(':')
  const bootstrap = [{ host, port: Number(port) }]
  const held = new Map() // what a number stands for: a node, and its connection
  let count = 0

  async function fresh () {
    const node = new DHT({ bootstrap })
    await node.fullyBootstrapped()
    held.set(++count, { node, socket: null })
    return count
  }

  async function serve ({ relay }) {
    const number = await fresh()
    const options = { relayThrough: relay ? Buffer.from(relay, 'hex') : null }
    const server = held.get(number).node.createServer(options, (socket) => {
      socket.on('error', () => {}).on('data', (data) => socket.write(data)).on('end', () => socket.end())
    })
    await server.listen()
    return { node: number, key: server.publicKey.toString('hex') }
  }

  // By a fresh node, or by the one given.
  async function connect ({ key, relay, limit, node }) {
    const booting = now()
    const number = node || await fresh()
    const one = held.get(number)
    const began = now()
    const socket = one.node.connect(Buffer.from(key, 'hex'), { relayThrough: relay ? Buffer.from(relay, 'hex') : null })
    one.socket = socket.on('error', () => {})
    let ms = null
    socket.on('open', () => { ms = now() - began; socket.write('echo') })
    const outcome = await echoed(socket, limit)
    return { ...outcome, node: number, boot: began - booting, ms, echo: now() - began, ...seen(one) }
  }

  // Another echo on the connection that stands, and over what path.
  async function again ({ node, limit }) {
    const one = held.get(node)
    if (one.socket.destroyed) return { ok: false, error: 'closed' }
    one.socket.write('again')
    return { ...await echoed(one.socket, limit), ...seen(one) }
  }

  function echoed (socket, limit) {
    return new Promise((resolve) => {
      const heard = () => done({ ok: true })
      const failed = (error) => done({ ok: false, error: error.code || error.message })
      const closed = () => done({ ok: false, error: 'closed' })
      const timer = setTimeout(() => done({ ok: false, error: 'nothing within the limit' }), limit)
      const done = (value) => {
        clearTimeout(timer)
        socket.off('data', heard).off('error', failed).off('close', closed)
        resolve(value)
      }
      socket.on('data', heard).on('error', failed).on('close', closed)
    })
  }

  function seen ({ node, socket }) {
    const raw = socket.rawStream
    const remote = raw && raw.remoteHost ? `${raw.remoteHost}:${raw.remotePort}` : null
    return { remote, punches: node.stats.punches }
  }

  async function close ({ node }) {
    const one = held.get(node)
    held.delete(node)
    if (one.socket) one.socket.destroy()
    await one.node.destroy({ force: true })
    return {}
  }

  return { serve, connect, again, close }
}

const commands = role === 'party' ? party(...rest) : {}
const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const { id, do: name, ...words } = JSON.parse(line)
  const answer = (told) => say({ id, ...told })
  commands[name](words).then(answer, (error) => answer({ ok: false, error: error.code || error.message }))
})
lines.on('close', () => process.exit(0))
if (role === 'middle') middle(...rest)
else say({ ready: true })
