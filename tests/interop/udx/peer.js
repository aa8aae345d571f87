// One raw UDX stream of npm udx-native, steered by lines on stdin; what happens is told as JSON lines on stdout.
//   node peer.js <local id> <remote id> <role> <bytes>
// Roles: echo, sink (hash what comes, then end), source (bytes of a counting pattern, then end), chatty (64 KiB then destroy),
// quiet (destroys when the first data comes), message (answers each message with itself), slow (reads nothing until told "read").
const UDX = require('udx-native')
const crypto = require('crypto')
const readline = require('readline')

const [localId, remoteId, role, bytes] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4], Number(process.argv[5] || 0)]
const tell = (value) => process.stdout.write(JSON.stringify(value) + '\n')

const udx = new UDX()
const socket = udx.createSocket()
socket.bind(0, '127.0.0.1')
const stream = udx.createStream(localId)
const hash = crypto.createHash('sha256')
let received = 0

function pattern(at, size) {
  const out = Buffer.allocUnsafe(size)
  for (let i = 0; i < size; i++) out[i] = ((at + i) * 31 + ((at + i) >> 8)) & 255
  return out
}

stream.on('error', (err) => tell({ event: 'error', code: err.code || err.message }))
stream.on('close', () => {
  tell({ event: 'close', received, hash: hash.digest('hex'), retransmits: stream.retransmits })
  setTimeout(() => process.exit(0), 200)
})
stream.on('end', () => {
  tell({ event: 'end' })
  if (role !== 'source') stream.end()
})

function ondata(data) {
  received += data.byteLength
  hash.update(data)
  if (role === 'echo' && !stream.write(data)) {
    stream.pause()
    stream.once('drain', () => stream.resume())
  }
  if (role === 'quiet') stream.destroy()
}

function source() {
  let at = 0
  const more = () => {
    while (at < bytes) {
      const size = Math.min(65000, bytes - at)
      at += size
      if (!stream.write(pattern(at - size, size))) return stream.once('drain', more)
    }
    stream.end()
  }
  more()
}

function start() {
  if (role === 'slow') stream.pause()
  else stream.on('data', ondata)
  if (role === 'source') source()
  if (role === 'chatty') {
    stream.write(pattern(0, 65536))
    stream.flush().then(() => stream.destroy())
  }
  if (role === 'message') {
    stream.on('message', (message) => stream.trySend(message))
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, value] = line.split(' ')
  if (word === 'connect') {
    stream.connect(socket, remoteId, Number(value), '127.0.0.1')
    start()
    tell({ event: 'connected' })
  } else if (word === 'read') {
    stream.on('data', ondata)
    stream.resume()
  } else if (word === 'destroy') {
    stream.destroy()
  }
})

tell({ event: 'bound', port: socket.address().port })
