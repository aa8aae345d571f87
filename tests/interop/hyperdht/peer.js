// The npm side of the connection tests: `node peer.js ROLE MODE [KEY HOST:PORT SIZE]`, one JSON object a line.
// ROLE is server or client, MODE is stream (bytes as they come) or mux (a Protomux channel).
const DHT = require('hyperdht')
const Protomux = require('protomux')
const c = require('compact-encoding')
const { createHash } = require('crypto')

const [role, mode, key, address, size] = process.argv.slice(2)
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const dht = new DHT({ bootstrap: [], host: '127.0.0.1', port: 0 })
const sha = (chunks) => createHash('sha256').update(Buffer.concat(chunks)).digest('hex')
const ID = Buffer.from('interop')
process.stdin.on('data', () => {}).on('end', () => dht.destroy({ force: true }).then(() => process.exit(0)))

function echoChannel (socket, onpiece) {
  const mux = Protomux.from(socket)
  const channel = mux.createChannel({
    protocol: 'interop/echo',
    id: ID,
    handshake: c.string,
    messages: [{ encoding: c.raw, onmessage: (piece) => onpiece(channel, piece) }],
    onopen: (handshake) => say({ event: 'channel', handshake }),
    onclose: () => say({ event: 'channel-closed' })
  })
  channel.open('from npm')
  return { mux, channel }
}

function told (socket) {
  socket.on('error', (error) => say({ event: 'error', code: error.code || error.message }))
  socket.on('close', () => say({ event: 'closed' }))
  say({ event: 'open', remote: socket.remotePublicKey.toString('hex'), hash: socket.handshakeHash.toString('hex') })
}

async function serve () {
  const server = dht.createServer((socket) => {
    told(socket)
    if (mode === 'stream') socket.on('data', (data) => socket.write(data)).on('end', () => socket.end())
    else echoChannel(socket, (channel, piece) => channel.messages[0].send(piece))
  })
  await server.listen(DHT.keyPair(Buffer.alloc(32, 9)))
  say({ event: 'ready', key: server.publicKey.toString('hex'), port: dht.io.serverSocket.address().port })
}

function call () {
  const [host, port] = address.split(':')
  const socket = dht.connect(Buffer.from(key, 'hex'), { relayAddresses: [{ host, port: Number(port) }] })
  const data = Buffer.alloc(Number(size))
  for (let i = 0; i < data.length; i++) data[i] = (i * 31 + (i >> 8)) & 255
  const echoed = []
  let left = data.length
  const arrived = (piece) => {
    echoed.push(Buffer.from(piece))
    left -= piece.length
    if (left === 0) say({ event: 'echoed', sha: sha(echoed) })
    if (left === 0 && mode === 'stream') socket.end()
    return left === 0
  }
  socket.on('open', () => {
    told(socket)
    if (mode === 'stream') {
      socket.on('data', arrived)
      socket.write(data)
      return
    }
    const { mux, channel } = echoChannel(socket, (channel, piece) => { if (arrived(piece)) channel.close() })
    mux.cork()
    for (let at = 0; at < data.length; at += 65536) channel.messages[0].send(data.subarray(at, at + 65536))
    mux.uncork()
  })
  socket.on('error', (error) => say({ event: 'failed', code: error.code || error.message }))
}

if (role === 'server') serve()
else call()
