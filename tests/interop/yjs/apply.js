// Applies Yjs updates with npm yjs and says what the document holds.  One process, one JSON line a case:
// {"updates": [hex, ...], "roots": [name, ...]} -> {"content": {root: {key: value}}, "pending": bool, "update": hex}
'use strict'

const path = require('path')
const readline = require('readline')
const Y = require(path.join(__dirname, '..', 'js', 'node_modules', 'yjs'))

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { updates, roots } = JSON.parse(line)
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, Buffer.from(update, 'hex'))
  const content = {}
  for (const root of roots) {
    const entries = Object.fromEntries(doc.getMap(root).entries())
    if (Object.keys(entries).length > 0) content[root] = entries
  }
  const pending = doc.store.pendingStructs !== null || doc.store.pendingDs !== null
  const update = Buffer.from(Y.encodeStateAsUpdate(doc)).toString('hex')
  process.stdout.write(JSON.stringify({ content, pending, update }) + '\n')
})
