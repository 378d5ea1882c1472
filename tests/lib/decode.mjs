// decode.mjs DIR OUT - rebuild a session's last workspace from the unpacked members of a bundle
//
// Written from formats/*/FORMAT.md alone, with a msgpack reader that is not ours: it is there to show that the pages are enough.
// DIR holds what `tar -xf` and `zstd -d` made of the bundle. Prints one line of JSON about what it read.
import { decode, decodeMulti } from '@msgpack/msgpack'
import { createHash } from 'node:crypto'
import { chmodSync, linkSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'

const [dir, out] = process.argv.slice(2)
const stream = (name) => [...decodeMulti(readFileSync(`${dir}/${name}.msgpack`))]
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

// Objects: each is what its digest says.
const objects = new Map()
for (const { b, d } of stream('objects')) {
    if (hex(sha256(b)) !== hex(d)) throw new Error(`object ${hex(d)} has other bytes`)
    objects.set(hex(d), b)
}
const bytes = (digest) => objects.get(hex(digest)) ?? (() => { throw new Error(`object ${hex(digest)} is missing`) })()

// Frames: two streams that have every sequence once; the record digest is a chain over both.
const names = { 2: 'event', 5: 'output' }
const frames = [...stream('journal'), ...stream('snapshots').map((frame) => ({ kind: 4, ...frame }))]
    .sort((a, b) => a.sequence - b.sequence)
let record = Buffer.alloc(32)
frames.forEach((frame, i) => {
    if (frame.sequence !== i + 1) throw new Error(`frame ${frame.sequence} where ${i + 1} belongs`)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(frame.payload.length))
    record = sha256(record, `${names[frame.kind] ?? 'snapshot'}:${frame.sequence}`, Buffer.alloc(1), length, frame.payload)
})
const about = JSON.parse(readFileSync(`${dir}/nightjar.json`))
if (record.toString('hex') !== about.record_digest || frames.length !== about.frames) throw new Error('another record digest')

// The conversation: leaves of the tree of digests, in order.
const snapshot = decode(frames.filter((frame) => frame.kind === 4).at(-1).payload)
const items = (digest) => {
    const node = decode(bytes(digest))
    return node.l === 0 ? node.i : node.i.flatMap(items)
}
const roles = (snapshot.messages ? items(snapshot.list) : []).map((digest) => JSON.parse(Buffer.from(bytes(digest))).role)
if (roles.length !== snapshot.messages) throw new Error('the conversation has another length')

// The workspace: hard links name a path that stands earlier in the walk.
let files = 0
const entries = (digest) => {
    const tree = decode(bytes(digest))
    return tree.C ? tree.C.flatMap(entries) : tree.e // a large directory lists its leaves
}
const restore = (digest, folder) => {
    for (const entry of entries(digest)) {
        const path = Buffer.concat([folder, Buffer.from('/'), Buffer.from(entry.n)])
        if (entry.t === 1) {
            const content = Buffer.concat(entry.p ? decode(bytes(entry.p)).p.map(bytes) : [bytes(entry.d)])
            if (content.length !== Number(entry.s) || hex(sha256(content)) !== hex(entry.d)) throw new Error(`${path} has other bytes`)
            writeFileSync(path, content)
            files++
        } else if (entry.t === 2) {
            mkdirSync(path)
            restore(entry.d, path)
        } else if (entry.t === 3) {
            symlinkSync(Buffer.from(entry.l), path)
        } else if (entry.t === 4) {
            linkSync(Buffer.concat([Buffer.from(`${out}/`), Buffer.from(entry.l)]), path)
        }
        if (entry.t <= 2 && lstatSync(path).mode !== 0) chmodSync(path, entry.m & 0o1777)
    }
}
mkdirSync(out)
restore(snapshot.tree, Buffer.from(out))
console.log(JSON.stringify({ frames: frames.length, objects: objects.size, files, roles }))
