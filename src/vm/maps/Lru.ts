/**
 * Which entry of an LRU hash makes room for the next one.
 *
 * The kernel's LRU is an approximation, and this is the same one, so that on one CPU the same calls evict the same keys:
 *
 * - Entries that were used since they were last looked at carry a mark. Look-ups by programs and replacing updates set
 *   it, look-ups by user space do not.
 * - Global entries are in an *active* or an *inactive* list, the newest first. Both are scanned from the old end, a
 *   bounded number of entries at a time: marked ones go to the front of the active list and lose their mark, unmarked
 *   active ones become inactive while there are fewer inactive than active ones. Unmarked inactive entries are evicted.
 * - Each CPU takes free places from the global list in batches (`batch`), evicting as many as are missing, and keeps
 *   what it gave out in a *pending* list of its own until its next batch. So a map evicts before it is quite full, and
 *   when all is pending it takes from there, the oldest unmarked first, from this CPU's list and then from the others'.
 * - With `BPF_F_NO_COMMON_LRU` each CPU has lists of its own and its share of the places, and there is no pending list.
 *
 * Semantics: `kernel/bpf/bpf_lru_list.c` of Linux 6.16 and later, where the batch depends on the size of the map.
 */

const Active = 0
const Inactive = 1
const Free = 2
const LocalFree = 3
const Pending = 4

/** Free places that a CPU takes at a time at most, and entries that are scanned at a time. */
const commonBatch = 128
const ownBatch = 4

/** The lists. Nodes are places of the hash table; behind them stand the heads of the lists. */
export interface Lru {
  readonly cpus: number
  /** Each CPU has lists of its own. */
  readonly own: boolean
  /** Free places that are taken at a time, entries that are scanned at a time. */
  readonly batch: number
  readonly scans: number
  /** Per group of global lists (one, or one per CPU): places that were never given out, lengths, where scanning goes on. */
  readonly untouched: Float64Array
  readonly active: Float64Array
  readonly inactive: Float64Array
  readonly rotation: Int32Array
  /** Per CPU: whose lists it looks at first when nothing else is left. */
  readonly steal: Int32Array
  /** Number of list heads; node `n` of the arrays is place `n - heads`. */
  readonly heads: number
  next: Int32Array
  previous: Int32Array
  kind: Uint8Array
  marked: Uint8Array
  cpu: Uint16Array
  used: number
  /** Takes the entry of a place out of the hash table. */
  readonly evict: (place: number) => void
}

const listsPerCpu = 2

/** Empty lists for `places` entries, a multiple of `cpus` where each CPU has its own. */
export const make = (places: number, cpus: number, own: boolean, evict: (place: number) => void): Lru => {
  const groups = own ? cpus : 1
  const heads = groups * 3 + (own ? 0 : cpus * listsPerCpu)
  const size = heads + 16
  const lru: Lru = {
    cpus,
    own,
    batch: own ? ownBatch : Math.min(Math.max(Math.floor(Math.floor(places / cpus) / 2), 1), commonBatch),
    scans: own ? ownBatch : commonBatch,
    untouched: new Float64Array(groups).fill(own ? places / cpus : places),
    active: new Float64Array(groups),
    inactive: new Float64Array(groups),
    rotation: new Int32Array(groups),
    steal: Int32Array.from({ length: cpus }, (_, cpu) => cpu),
    heads,
    next: new Int32Array(size),
    previous: new Int32Array(size),
    kind: new Uint8Array(size),
    marked: new Uint8Array(size),
    cpu: new Uint16Array(size),
    used: 0,
    evict
  }
  for (let head = 0; head < heads; head++) lru.next[head] = lru.previous[head] = head
  for (let group = 0; group < groups; group++) lru.rotation[group] = headOf(group, Inactive)
  return lru
}

/** The head of a global list. */
const headOf = (group: number, kind: number): number => group * 3 + kind

/** The head of a CPU's list of free or pending nodes, where the global lists are common. */
const localHead = (cpu: number, kind: number): number => 3 + cpu * listsPerCpu + (kind - LocalFree)

const nextOf = (lru: Lru, node: number): number => lru.next[node] ?? 0
const previousOf = (lru: Lru, node: number): number => lru.previous[node] ?? 0
const isEmpty = (lru: Lru, head: number): boolean => lru.next[head] === head

const unlink = (lru: Lru, node: number): void => {
  const next = nextOf(lru, node)
  const previous = previousOf(lru, node)
  lru.next[previous] = next
  lru.previous[next] = previous
}

const linkFirst = (lru: Lru, node: number, head: number): void => {
  const first = nextOf(lru, head)
  lru.next[node] = first
  lru.previous[node] = head
  lru.previous[first] = node
  lru.next[head] = node
}

const count = (lru: Lru, group: number, kind: number, by: number): void => {
  if (kind === Active) lru.active[group] = (lru.active[group] ?? 0) + by
  else if (kind === Inactive) lru.inactive[group] = (lru.inactive[group] ?? 0) + by
}

/** Puts a node that is linked somewhere to the front of a list. */
const move = (lru: Lru, group: number, node: number, kind: number, head: number): void => {
  if (lru.rotation[group] === node) lru.rotation[group] = previousOf(lru, node)
  count(lru, group, lru.kind[node] ?? 0, -1)
  count(lru, group, kind, 1)
  lru.kind[node] = kind
  unlink(lru, node)
  linkFirst(lru, node, head)
}

const moveGlobal = (lru: Lru, group: number, node: number, kind: number): void => {
  lru.marked[node] = 0
  move(lru, group, node, kind, headOf(group, kind))
}

/** Looks at old active entries: marked ones become the newest, others inactive. */
const rotateActive = (lru: Lru, group: number): void => {
  const head = headOf(group, Active)
  const newest = nextOf(lru, head)
  let node = previousOf(lru, head)
  for (let i = 0; i < lru.scans && node !== head; i++) {
    const older = previousOf(lru, node)
    moveGlobal(lru, group, node, lru.marked[node] === 1 ? Active : Inactive)
    if (node === newest) break
    node = older
  }
}

/** Looks at inactive entries, from where it stopped last time, round and round: marked ones become active. */
const rotateInactive = (lru: Lru, group: number): void => {
  const head = headOf(group, Inactive)
  if (isEmpty(lru, head)) return
  const start = lru.rotation[group] ?? head
  let last = nextOf(lru, start)
  if (last === head) last = nextOf(lru, last)
  let node = start
  let following = head
  for (let i = 0; i < lru.scans;) {
    if (node === head) {
      node = previousOf(lru, node)
      continue
    }
    following = previousOf(lru, node)
    if (lru.marked[node] === 1) moveGlobal(lru, group, node, Active)
    if (node === last) break
    node = following
    i++
  }
  lru.rotation[group] = following
}

const rotate = (lru: Lru, group: number): void => {
  if ((lru.inactive[group] ?? 0) < (lru.active[group] ?? 0)) rotateActive(lru, group)
  rotateInactive(lru, group)
}

const evictTo = (lru: Lru, group: number, node: number, kind: number, head: number): void => {
  lru.evict(node - lru.heads)
  move(lru, group, node, kind, head)
}

/** Evicts up to `wanted` entries into a list of free nodes; marked ones only if nothing else is found. */
const shrink = (lru: Lru, group: number, wanted: number, kind: number, freeHead: number): void => {
  const head = headOf(group, Inactive)
  let found = 0
  let node = previousOf(lru, head)
  for (let i = 0; i < lru.scans && node !== head && found < wanted; i++) {
    const older = previousOf(lru, node)
    if (lru.marked[node] === 1) moveGlobal(lru, group, node, Active)
    else {
      evictTo(lru, group, node, kind, freeHead)
      found++
    }
    node = older
  }
  if (found > 0) return
  const list = isEmpty(lru, head) ? headOf(group, Active) : head
  if (!isEmpty(lru, list)) evictTo(lru, group, previousOf(lru, list), kind, freeHead)
}

/** A place that was never given out, linked in no list; -1 when there is none. */
const untouched = (lru: Lru, group: number): number => {
  const left = lru.untouched[group] ?? 0
  if (left === 0) return -1
  lru.untouched[group] = left - 1
  const node = lru.heads + lru.used++
  if (node >= lru.next.length) grow(lru)
  lru.next[node] = lru.previous[node] = node
  lru.kind[node] = Free
  return node
}

const grow = (lru: Lru): void => {
  const size = lru.next.length * 2
  const longer = <A extends Int32Array | Uint8Array | Uint16Array>(to: A, from: A): A => (to.set(from), to)
  lru.next = longer(new Int32Array(size), lru.next)
  lru.previous = longer(new Int32Array(size), lru.previous)
  lru.kind = longer(new Uint8Array(size), lru.kind)
  lru.marked = longer(new Uint8Array(size), lru.marked)
  lru.cpu = longer(new Uint16Array(size), lru.cpu)
}

/** The first free node of a group: the one that was freed last, or one that was never used; -1 when there is none. */
const firstFree = (lru: Lru, group: number): number => {
  const head = headOf(group, Free)
  return isEmpty(lru, head) ? untouched(lru, group) : nextOf(lru, head)
}

/** A place for a new entry that this CPU makes, evicting others if need be; -1 when there is none. */
export const pop = (lru: Lru, cpu: number): number => lru.own ? popOwn(lru, cpu) : popCommon(lru, cpu)

const popOwn = (lru: Lru, cpu: number): number => {
  rotate(lru, cpu)
  const head = headOf(cpu, Free)
  if (isEmpty(lru, head) && lru.untouched[cpu] === 0) shrink(lru, cpu, lru.batch, Free, head)
  const node = firstFree(lru, cpu)
  if (node < 0) return -1
  lru.cpu[node] = cpu
  moveGlobal(lru, cpu, node, Inactive)
  return node - lru.heads
}

const popCommon = (lru: Lru, cpu: number): number => {
  if (isEmpty(lru, localHead(cpu, LocalFree))) refill(lru, cpu)
  let node = popLocalFree(lru, cpu)
  if (node < 0) node = stealNode(lru, cpu)
  if (node < 0) return -1
  lru.kind[node] = Pending
  lru.cpu[node] = cpu
  lru.marked[node] = 0
  linkFirst(lru, node, localHead(cpu, Pending))
  return node - lru.heads
}

/** Hands this CPU's pending entries to the global lists and takes a batch of free nodes. */
const refill = (lru: Lru, cpu: number): void => {
  const pending = localHead(cpu, Pending)
  for (let node = previousOf(lru, pending); node !== pending;) {
    const newer = previousOf(lru, node)
    moveGlobal(lru, 0, node, lru.marked[node] === 1 ? Active : Inactive)
    node = newer
  }
  rotate(lru, 0)
  const free = localHead(cpu, LocalFree)
  let found = 0
  for (; found < lru.batch; found++) {
    const node = firstFree(lru, 0)
    if (node < 0) break
    move(lru, 0, node, LocalFree, free)
  }
  if (found < lru.batch) shrink(lru, 0, lru.batch - found, LocalFree, free)
}

const popLocalFree = (lru: Lru, cpu: number): number => {
  const head = localHead(cpu, LocalFree)
  if (isEmpty(lru, head)) return -1
  const node = nextOf(lru, head)
  unlink(lru, node)
  return node
}

/** Evicts the oldest pending entry of a CPU, unmarked ones first. */
const popPending = (lru: Lru, cpu: number): number => {
  const head = localHead(cpu, Pending)
  if (isEmpty(lru, head)) return -1
  let node = previousOf(lru, head)
  while (node !== head && lru.marked[node] === 1) node = previousOf(lru, node)
  if (node === head) node = previousOf(lru, head)
  lru.evict(node - lru.heads)
  unlink(lru, node)
  return node
}

/** Takes a node from the lists of one CPU after the other, beginning where it stopped last time. */
const stealNode = (lru: Lru, cpu: number): number => {
  const start = lru.steal[cpu] ?? 0
  let victim = start
  let node = -1
  do {
    node = popLocalFree(lru, victim)
    if (node < 0) node = popPending(lru, victim)
    victim = (victim + 1) % lru.cpus
  } while (node < 0 && victim !== start)
  lru.steal[cpu] = victim
  return node
}

/** Gives back the place of an entry that was deleted or replaced. */
export const give = (lru: Lru, place: number): void => {
  const node = place + lru.heads
  const cpu = lru.cpu[node] ?? 0
  if (lru.kind[node] === Pending) {
    lru.kind[node] = LocalFree
    lru.marked[node] = 0
    unlink(lru, node)
    linkFirst(lru, node, localHead(cpu, LocalFree))
  } else moveGlobal(lru, lru.own ? cpu : 0, node, Free)
}

/** Notes that an entry was used. */
export const mark = (lru: Lru, place: number): void => {
  lru.marked[place + lru.heads] = 1
}
