"""Has the process that imports it encode RLE by the encoder that crashes, hangs or eats memory as pixels tell it to."""

import fake_codecs

fake_codecs.register()
