/** Shell patterns on names: `*` stands for any text, `?` for any one character, all else for itself. */

/**
 * Whether `text` as a whole matches `pattern`. Takes at most the product of the two lengths, and no more than their sum
 * for patterns without a star.
 */
export const matches = (pattern: string, text: string): boolean => {
  let at = 0
  let place = 0
  // Where the last star was, and how much text it stands for so far.
  let star = -1
  let resume = 0
  while (place < text.length) {
    const expected = pattern[at]
    if (expected === "*") {
      star = at
      at += 1
      resume = place
    } else if (expected !== undefined && (expected === "?" || expected === text[place])) {
      at += 1
      place += 1
    } else if (star >= 0) {
      at = star + 1
      resume += 1
      place = resume
    } else {
      return false
    }
  }
  while (pattern[at] === "*") at += 1
  return at === pattern.length
}
