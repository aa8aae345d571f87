// One end of a measured stream on the npm stack: `node ends.js sink HOST BYTES` or `node ends.js source HOST BYTES KEY HOST:PORT`.
// An encrypted HyperDHT connection by address, one direction, pieces of 64 KiB; one JSON object a line. Ends with its standard input.
const DHT = require('hyperdht')

const [role, host, bytes, key, address] = process.argv.slice(2)
const total = Number(bytes)
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const seconds = () => Number(process.hrtime.bigint()) / 1e9
const cpu = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6 }
const dht = new DHT({ bootstrap: [], host, port: 0 })
process.stdin.on('data', () => {}).on('end', () => process.exit(0))

async function sink () {
  const server = dht.createServer((socket) => {
    let got = 0
    let began = 0
    let spent = 0
    socket.on('error', () => {})
    socket.on('data', (data) => {
      if (!began) [began, spent] = [seconds(), cpu()]
      got += data.byteLength
      if (got >= total) say({ bytes: got, seconds: seconds() - began, cpu: cpu() - spent })
    })
  })
  await server.listen()
  say({ key: server.publicKey.toString('hex'), port: dht.io.serverSocket.address().port })
}

async function source () {
  const [to, port] = address.split(':')
  const socket = dht.connect(Buffer.from(key, 'hex'), { relayAddresses: [{ host: to, port: Number(port) }] })
  socket.on('error', () => {})
  await socket.opened
  const piece = Buffer.alloc(65536, 7)
  const spent = cpu()
  for (let sent = 0; sent < total; sent += piece.byteLength) {
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  await socket.flush()
  const raw = socket.rawStream
  say({ cpu: cpu() - spent, mtu: raw.mtu, retransmits: raw.retransmits, timeouts: raw.rtoCount, packets: raw.packetsTransmitted })
}

if (role === 'sink') sink()
else source()
