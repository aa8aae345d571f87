// node oracle.js <folder of package.json> <seed hex> <count>: one JSON line a block, what npm hypercore makes of the
// same blocks and key: tree hash and signature of the feed, leaf hash and, where the block completes one, parent hash.
const { createRequire } = require('module')
const path = require('path')
const fs = require('fs')
const os = require('os')
const load = createRequire(path.join(path.resolve(process.argv[2]), 'index.js'))
const Hypercore = load('hypercore')
const crypto = load('hypercore-crypto')

async function main () {
  const keyPair = crypto.keyPair(Buffer.from(process.argv[3], 'hex'))
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hypercore-oracle-'))
  const core = new Hypercore(dir, { keyPair })
  await core.ready()
  const out = [{ key: core.key.toString('hex'), discovery: core.discoveryKey.toString('hex'), root: (await core.treeHash()).toString('hex') }]
  let last = null
  for (let i = 0; i < +process.argv[4]; i++) {
    // sizes from 0 to 999, bytes that depend on the place
    const block = Buffer.alloc((i * 37) % 1000, i % 251)
    await core.append(block)
    const leaf = { index: 2 * i, size: block.length, hash: crypto.data(block) }
    const parent = i % 2 ? crypto.parent(last, leaf).toString('hex') : ''
    last = leaf
    out.push({
      root: (await core.treeHash()).toString('hex'),
      signature: core.core.state.signature.toString('hex'),
      leaf: leaf.hash.toString('hex'),
      parent
    })
  }
  await core.close()
  fs.rmSync(dir, { recursive: true, force: true })
  fs.writeSync(1, out.map(line => JSON.stringify(line)).join('\n') + '\n')
}

main()
