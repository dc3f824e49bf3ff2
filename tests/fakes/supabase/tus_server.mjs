// Resumable uploads by the library that Supabase Storage itself uses, with its ids, its signature
// and its answers around it. Bytes lie in a directory; a finished upload is handed to the storage
// double, which makes an object of it. Prints its port.
//
//   node tus_server.mjs --directory DIR --storage URL --faults FILE [--port N]
//
// The environment's TUS_JWT_SECRET is what upload tokens are signed with. Faults, read at each
// request from the JSON file, and taken out of it where they happen once:
//   die_in_last_patch: "half"      dies once half of the last bytes are written
//                      "complete"  dies once all bytes are there, before there is an object
//                      "recorded"  dies once the object is there, before it says so
//   expire_tokens_before: unix s   tokens made earlier have expired; stays
//   finish_delay_s                 so long does it take to make an object; stays
//   forget_when_client_leaves      an upload whose client leaves in the last PATCH is gone; stays
//   patch_delay_s                  each PATCH is answered so late; stays
import {FileStore} from '@tus/file-store'
import {Server} from '@tus/server'
import {createHmac, randomUUID, timingSafeEqual} from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import {Transform} from 'node:stream'
import {setTimeout as sleep} from 'node:timers/promises'
import {parseArgs} from 'node:util'

const {values: options} = parseArgs({
  options: {
    directory: {type: 'string'},
    storage: {type: 'string'},
    faults: {type: 'string'},
    port: {type: 'string', default: '0'},
  },
})
const SECRET = process.env.TUS_JWT_SECRET
const PATH = '/storage/v1/upload/resumable/sign'
const MAX_SIZE_BYTES = 5368709120
const UPLOAD_LIFE_MS = 24 * 3600 * 1000

function faults() {
  try {
    return JSON.parse(fs.readFileSync(options.faults, 'utf8'))
  } catch {
    return {}
  }
}

function takeDeath(kind) {
  const found = faults()
  if (found.die_in_last_patch !== kind) return false
  delete found.die_in_last_patch
  fs.writeFileSync(options.faults, JSON.stringify(found))
  return true
}

function die() {
  process.kill(process.pid, 'SIGKILL')
}

function refused(status_code, body) {
  return {status_code, body, message: body}
}

// The claims of a signed upload token; throws what Supabase answers otherwise.
function claimsOf(token) {
  const [header, payload, signature] = token.split('.')
  const expected = createHmac('sha256', SECRET).update(`${header}.${payload}`).digest()
  const given = Buffer.from(signature ?? '', 'base64url')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw refused(400, 'Invalid signature')
  }
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const isOld = claims.iat < (faults().expire_tokens_before ?? 0)
  if (isOld || claims.exp <= Date.now() / 1000) {
    throw refused(400, '"exp" claim timestamp check failed')
  }
  return claims
}

// The library names an upload by what stands here; Supabase's are bucket/object/version.
function parts(id) {
  const names = id.split('/')
  return {bucket: names[0], object: names.slice(1, -1).join('/'), version: names.at(-1)}
}

const lastPatches = new Map() // id -> bytes that this PATCH still brings, whole file then there

class Store extends FileStore {
  async write(readable, id, offset) {
    const expected = lastPatches.get(id)
    if (expected === undefined || faults().die_in_last_patch !== 'half') {
      return super.write(readable, id, offset)
    }
    let received = 0
    const watched = new Transform({
      transform(chunk, _encoding, callback) {
        received += chunk.length
        callback(null, received * 2 > expected ? chunk.subarray(0, chunk.length / 2) : chunk)
        if (received * 2 > expected && takeDeath('half')) setTimeout(die, 20)
      },
    })
    return super.write(readable.pipe(watched), id, offset)
  }
}

const store = new Store({
  directory: options.directory,
  expirationPeriodInMilliseconds: UPLOAD_LIFE_MS,
})

async function watchLastPatch(req, id) {
  const upload = await store.configstore.get(id)
  const length = Number(req.headers.get('content-length') ?? 0)
  const isLast = upload && Number(req.headers.get('upload-offset')) + length === upload.size
  if (!isLast) {
    lastPatches.delete(id)
    return
  }
  lastPatches.set(id, length)
  const {res} = req.runtime.node
  res.once('close', () => {
    if (res.writableFinished || !faults().forget_when_client_leaves) return
    lastPatches.set(id, null) // the object must not come to be any more
    setTimeout(() => store.remove(id).catch(() => {}), 20)
  })
}

async function bucketLimit(bucket) {
  const answer = await fetch(`${options.storage}/internal/bucket/${encodeURIComponent(bucket)}`)
  if (answer.status !== 200) throw refused(404, 'Bucket not found')
  return (await answer.json()).file_size_limit ?? MAX_SIZE_BYTES
}

async function finish(req, upload) {
  const {bucket, object, version} = parts(upload.id)
  if (takeDeath('complete')) die()
  await sleep((faults().finish_delay_s ?? 0) * 1000)
  if (lastPatches.get(upload.id) === null) throw refused(404, 'The upload is gone')
  const {owner, upsert} = claimsOf(req.headers.get('x-signature'))
  const {contentType, cacheControl, metadata} = upload.metadata
  const body = {bucket, object, version, owner, upsert, contentType, cacheControl, metadata}
  const answer = await fetch(`${options.storage}/internal/uploaded`, {
    method: 'POST',
    headers: {'content-type': 'application/json'},
    body: JSON.stringify({...body, path: `${options.directory}/${upload.id}`}),
  })
  if (answer.status !== 200) throw refused(500, await answer.text())
  if (takeDeath('recorded')) die()
  lastPatches.delete(upload.id)
  return {headers: {'Tus-Complete': '1'}}
}

const server = new Server({
  path: PATH,
  datastore: store,
  lockDrainTimeout: 200,
  maxSize: (_req, id) => (id ? bucketLimit(parts(id).bucket) : MAX_SIZE_BYTES),
  namingFunction: (_req, metadata) => {
    const {bucketName, objectName} = metadata ?? {}
    if (!bucketName || !objectName) throw refused(400, 'Invalid upload metadata')
    return `${bucketName}/${objectName}/${randomUUID()}`
  },
  getFileIdFromRequest: (_req, last) => {
    const id = Buffer.from(last, 'base64url').toString()
    return id.includes('/') && !id.includes('..') ? id : undefined
  },
  generateUrl: (req, {id}) => {
    const host = req.headers.get('x-forwarded-host') ?? req.headers.get('host')
    return `http://${host}${PATH}/${Buffer.from(id).toString('base64url')}`
  },
  onIncomingRequest: async (req, id) => {
    const token = req.headers.get('x-signature')
    if (!token) throw refused(400, 'Missing x-signature header')
    const {bucket, object} = parts(id)
    if (claimsOf(token).url !== `${bucket}/${object}`) throw refused(400, 'Invalid signature')
    if (req.method === 'PATCH') {
      await watchLastPatch(req, id)
      await sleep((faults().patch_delay_s ?? 0) * 1000)
    }
  },
  onUploadCreate: async (_req, upload) => ({
    metadata: {...upload.metadata, cacheControl: upload.metadata.cacheControl ?? 'no-cache'},
  }),
  onUploadFinish: finish,
})

const listening = http.createServer(server.handle.bind(server))
listening.listen(Number(options.port), '127.0.0.1', () => {
  console.log(listening.address().port)
})
