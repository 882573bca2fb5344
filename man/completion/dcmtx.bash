# Completion of dcmtx for bash; made by `dcmtx completion bash`.

_dcmtx_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_dcmtx() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=convert
    COMPREPLY=()
    # bash parts --to=rle at the sign.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
            convert | info | compare | render | frames | index | advise | enhance | split | rewrap | crop | policy | syntaxes | audit | plan | shard | report | serve | relay | as | link | completion | hook) command=${COMP_WORDS[1]} ;;
        esac
    fi
    case $command:$before in
        convert:-t|convert:--to) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        convert:--like) _dcmtx_files "$word"; return ;;
        convert:-q|convert:--quality) return ;;
        convert:-r|convert:--rate|convert:--ratio) return ;;
        convert:--psnr) return ;;
        convert:-e|convert:--allowed-error|convert:--lossy-error|convert:--near) return ;;
        convert:--subsampling) COMPREPLY=($(compgen -W "444 422 420" -- "$word")); return ;;
        convert:--predictor) return ;;
        convert:--resolutions) return ;;
        convert:--progression) COMPREPLY=($(compgen -W "LRCP RLCP RPCL PCRL CPRL" -- "$word")); return ;;
        convert:--tile) return ;;
        convert:--code-block) return ;;
        convert:--tile-parts) COMPREPLY=($(compgen -W "resolution all" -- "$word")); return ;;
        convert:--effort) return ;;
        convert:--uid) COMPREPLY=($(compgen -W "auto keep new" -- "$word")); return ;;
        convert:--offset-table) COMPREPLY=($(compgen -W "auto basic extended empty" -- "$word")); return ;;
        convert:--fragment-size) return ;;
        convert:--overlays) COMPREPLY=($(compgen -W "extract refuse" -- "$word")); return ;;
        convert:--icon) COMPREPLY=($(compgen -W "follow drop generate" -- "$word")); return ;;
        convert:--signatures) COMPREPLY=($(compgen -W "refuse remove" -- "$word")); return ;;
        convert:--unused-bits) COMPREPLY=($(compgen -W "refuse keep clear" -- "$word")); return ;;
        convert:--one-bit) COMPREPLY=($(compgen -W "refuse allow" -- "$word")); return ;;
        convert:--word-order) COMPREPLY=($(compgen -W "refuse 16 32 64" -- "$word")); return ;;
        convert:--photometric) COMPREPLY=($(compgen -W "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_RCT YBR_ICT" -- "$word")); return ;;
        convert:--planar) return ;;
        convert:--no-pixels) COMPREPLY=($(compgen -W "native skip fail" -- "$word")); return ;;
        convert:--remove) COMPREPLY=($(compgen -W "none private retired private,retired invalid" -- "$word")); return ;;
        convert:--lengths) COMPREPLY=($(compgen -W "keep explicit undefined" -- "$word")); return ;;
        convert:--charset) COMPREPLY=($(compgen -W "keep utf-8" -- "$word")); return ;;
        convert:--assume) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        convert:--fallback) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        convert:--verify) COMPREPLY=($(compgen -W "sampled strict cpu device none" -- "$word")); return ;;
        convert:--decoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle zlib" -- "$word")); return ;;
        convert:--encoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-openjpeg pylibjpeg-rle" -- "$word")); return ;;
        convert:--device) COMPREPLY=($(compgen -W "cpu gpu" -- "$word")); return ;;
        convert:--sync) COMPREPLY=($(compgen -W "batch always none" -- "$word")); return ;;
        convert:-j|convert:--jobs) return ;;
        convert:--memory) return ;;
        convert:--timeout) return ;;
        convert:--policy) _dcmtx_files "$word"; return ;;
        convert:-i|convert:--input) _dcmtx_files "$word"; return ;;
        convert:-o|convert:--output) _dcmtx_files "$word"; return ;;
        convert:--report) _dcmtx_files "$word"; return ;;
        convert:--progress) COMPREPLY=($(compgen -W "bar json" -- "$word")); return ;;
        convert:--cluster) return ;;
        convert:--run) return ;;
        compare:--by) COMPREPLY=($(compgen -W "path uid" -- "$word")); return ;;
        compare:--image) return ;;
        compare:--frame) return ;;
        render:--frame) return ;;
        render:--size) return ;;
        render:--bits) COMPREPLY=($(compgen -W "8 16" -- "$word")); return ;;
        frames:--frames) return ;;
        frames:--as) COMPREPLY=($(compgen -W "codestream png tiff npy" -- "$word")); return ;;
        advise:--files) return ;;
        advise:--frames) return ;;
        advise:--targets) return ;;
        advise:--plot) _dcmtx_files "$word"; return ;;
        enhance:--group) COMPREPLY=($(compgen -W "series orientation time echo type" -- "$word")); return ;;
        enhance:--study) return ;;
        enhance:--overlays) COMPREPLY=($(compgen -W "refuse keep" -- "$word")); return ;;
        enhance:--max-frames) return ;;
        enhance:-t|enhance:--to) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        enhance:-q|enhance:--quality) return ;;
        enhance:-r|enhance:--rate|enhance:--ratio) return ;;
        enhance:--psnr) return ;;
        enhance:-e|enhance:--allowed-error|enhance:--lossy-error|enhance:--near) return ;;
        enhance:--subsampling) COMPREPLY=($(compgen -W "444 422 420" -- "$word")); return ;;
        enhance:--predictor) return ;;
        enhance:--resolutions) return ;;
        enhance:--progression) COMPREPLY=($(compgen -W "LRCP RLCP RPCL PCRL CPRL" -- "$word")); return ;;
        enhance:--tile) return ;;
        enhance:--code-block) return ;;
        enhance:--tile-parts) COMPREPLY=($(compgen -W "resolution all" -- "$word")); return ;;
        enhance:--effort) return ;;
        enhance:--offset-table) COMPREPLY=($(compgen -W "auto basic extended empty" -- "$word")); return ;;
        enhance:--fragment-size) return ;;
        enhance:--unused-bits) COMPREPLY=($(compgen -W "refuse keep clear" -- "$word")); return ;;
        enhance:--verify) COMPREPLY=($(compgen -W "sampled strict cpu device none" -- "$word")); return ;;
        enhance:--decoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle zlib" -- "$word")); return ;;
        enhance:--encoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-openjpeg pylibjpeg-rle" -- "$word")); return ;;
        enhance:--device) COMPREPLY=($(compgen -W "cpu gpu" -- "$word")); return ;;
        enhance:--sync) COMPREPLY=($(compgen -W "batch always none" -- "$word")); return ;;
        enhance:-j|enhance:--jobs) return ;;
        enhance:--memory) return ;;
        enhance:--report) _dcmtx_files "$word"; return ;;
        enhance:--progress) COMPREPLY=($(compgen -W "bar json" -- "$word")); return ;;
        split:--frames) return ;;
        split:--uid) COMPREPLY=($(compgen -W "auto keep new" -- "$word")); return ;;
        split:-t|split:--to) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        split:-q|split:--quality) return ;;
        split:-r|split:--rate|split:--ratio) return ;;
        split:--psnr) return ;;
        split:-e|split:--allowed-error|split:--lossy-error|split:--near) return ;;
        split:--subsampling) COMPREPLY=($(compgen -W "444 422 420" -- "$word")); return ;;
        split:--predictor) return ;;
        split:--resolutions) return ;;
        split:--progression) COMPREPLY=($(compgen -W "LRCP RLCP RPCL PCRL CPRL" -- "$word")); return ;;
        split:--tile) return ;;
        split:--code-block) return ;;
        split:--tile-parts) COMPREPLY=($(compgen -W "resolution all" -- "$word")); return ;;
        split:--effort) return ;;
        split:--offset-table) COMPREPLY=($(compgen -W "auto basic extended empty" -- "$word")); return ;;
        split:--fragment-size) return ;;
        split:--unused-bits) COMPREPLY=($(compgen -W "refuse keep clear" -- "$word")); return ;;
        split:--verify) COMPREPLY=($(compgen -W "sampled strict cpu device none" -- "$word")); return ;;
        split:--decoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle zlib" -- "$word")); return ;;
        split:--encoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-openjpeg pylibjpeg-rle" -- "$word")); return ;;
        split:--device) COMPREPLY=($(compgen -W "cpu gpu" -- "$word")); return ;;
        split:--sync) COMPREPLY=($(compgen -W "batch always none" -- "$word")); return ;;
        split:-j|split:--jobs) return ;;
        split:--memory) return ;;
        split:--report) _dcmtx_files "$word"; return ;;
        split:--progress) COMPREPLY=($(compgen -W "bar json" -- "$word")); return ;;
        rewrap:--relabel) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        rewrap:--offset-table) COMPREPLY=($(compgen -W "auto basic extended empty" -- "$word")); return ;;
        rewrap:--fragment-size) return ;;
        rewrap:--icon) COMPREPLY=($(compgen -W "follow drop generate" -- "$word")); return ;;
        rewrap:-j|rewrap:--jobs) return ;;
        rewrap:--memory) return ;;
        rewrap:--timeout) return ;;
        rewrap:--report) _dcmtx_files "$word"; return ;;
        rewrap:--progress) COMPREPLY=($(compgen -W "bar json" -- "$word")); return ;;
        crop:--rows) return ;;
        crop:--columns) return ;;
        crop:--frames) return ;;
        crop:-t|crop:--to) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        crop:-q|crop:--quality) return ;;
        crop:-r|crop:--rate|crop:--ratio) return ;;
        crop:--psnr) return ;;
        crop:-e|crop:--allowed-error|crop:--lossy-error|crop:--near) return ;;
        crop:--subsampling) COMPREPLY=($(compgen -W "444 422 420" -- "$word")); return ;;
        crop:--predictor) return ;;
        crop:--resolutions) return ;;
        crop:--progression) COMPREPLY=($(compgen -W "LRCP RLCP RPCL PCRL CPRL" -- "$word")); return ;;
        crop:--tile) return ;;
        crop:--code-block) return ;;
        crop:--tile-parts) COMPREPLY=($(compgen -W "resolution all" -- "$word")); return ;;
        crop:--effort) return ;;
        crop:--offset-table) COMPREPLY=($(compgen -W "auto basic extended empty" -- "$word")); return ;;
        crop:--fragment-size) return ;;
        crop:--overlays) COMPREPLY=($(compgen -W "extract refuse" -- "$word")); return ;;
        crop:--signatures) COMPREPLY=($(compgen -W "refuse remove" -- "$word")); return ;;
        crop:--unused-bits) COMPREPLY=($(compgen -W "refuse keep clear" -- "$word")); return ;;
        crop:--one-bit) COMPREPLY=($(compgen -W "refuse allow" -- "$word")); return ;;
        crop:--word-order) COMPREPLY=($(compgen -W "refuse 16 32 64" -- "$word")); return ;;
        crop:--verify) COMPREPLY=($(compgen -W "sampled strict cpu device none" -- "$word")); return ;;
        crop:--decoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle zlib" -- "$word")); return ;;
        crop:--encoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-openjpeg pylibjpeg-rle" -- "$word")); return ;;
        crop:--device) COMPREPLY=($(compgen -W "cpu gpu" -- "$word")); return ;;
        crop:--sync) COMPREPLY=($(compgen -W "batch always none" -- "$word")); return ;;
        crop:-j|crop:--jobs) return ;;
        crop:--memory) return ;;
        crop:--timeout) return ;;
        crop:--report) _dcmtx_files "$word"; return ;;
        crop:--progress) COMPREPLY=($(compgen -W "bar json" -- "$word")); return ;;
        audit:--sample) return ;;
        audit:--was) return ;;
        audit:-j|audit:--jobs) return ;;
        audit:--timeout) return ;;
        audit:--proof) _dcmtx_files "$word"; return ;;
        plan:--from) _dcmtx_files "$word"; return ;;
        plan:--shard-bytes) return ;;
        plan:--shard-files) return ;;
        shard:--out) return ;;
        shard:-t|shard:--to) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        shard:-q|shard:--quality) return ;;
        shard:-r|shard:--rate|shard:--ratio) return ;;
        shard:--psnr) return ;;
        shard:-e|shard:--allowed-error|shard:--lossy-error|shard:--near) return ;;
        shard:--subsampling) COMPREPLY=($(compgen -W "444 422 420" -- "$word")); return ;;
        shard:--predictor) return ;;
        shard:--resolutions) return ;;
        shard:--progression) COMPREPLY=($(compgen -W "LRCP RLCP RPCL PCRL CPRL" -- "$word")); return ;;
        shard:--tile) return ;;
        shard:--code-block) return ;;
        shard:--tile-parts) COMPREPLY=($(compgen -W "resolution all" -- "$word")); return ;;
        shard:--effort) return ;;
        shard:--uid) COMPREPLY=($(compgen -W "auto keep new" -- "$word")); return ;;
        shard:--offset-table) COMPREPLY=($(compgen -W "auto basic extended empty" -- "$word")); return ;;
        shard:--fragment-size) return ;;
        shard:--overlays) COMPREPLY=($(compgen -W "extract refuse" -- "$word")); return ;;
        shard:--icon) COMPREPLY=($(compgen -W "follow drop generate" -- "$word")); return ;;
        shard:--signatures) COMPREPLY=($(compgen -W "refuse remove" -- "$word")); return ;;
        shard:--unused-bits) COMPREPLY=($(compgen -W "refuse keep clear" -- "$word")); return ;;
        shard:--one-bit) COMPREPLY=($(compgen -W "refuse allow" -- "$word")); return ;;
        shard:--word-order) COMPREPLY=($(compgen -W "refuse 16 32 64" -- "$word")); return ;;
        shard:--photometric) COMPREPLY=($(compgen -W "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_RCT YBR_ICT" -- "$word")); return ;;
        shard:--planar) return ;;
        shard:--no-pixels) COMPREPLY=($(compgen -W "native skip fail" -- "$word")); return ;;
        shard:--remove) COMPREPLY=($(compgen -W "none private retired private,retired invalid" -- "$word")); return ;;
        shard:--lengths) COMPREPLY=($(compgen -W "keep explicit undefined" -- "$word")); return ;;
        shard:--charset) COMPREPLY=($(compgen -W "keep utf-8" -- "$word")); return ;;
        shard:--assume) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        shard:--fallback) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        shard:--verify) COMPREPLY=($(compgen -W "sampled strict cpu device none" -- "$word")); return ;;
        shard:--decoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-libjpeg pylibjpeg-openjpeg pylibjpeg-rle zlib" -- "$word")); return ;;
        shard:--encoder) COMPREPLY=($(compgen -W "dcmtx imagecodecs isal nvimgcodec ojph pyjpegls pylibjpeg-openjpeg pylibjpeg-rle" -- "$word")); return ;;
        shard:--device) COMPREPLY=($(compgen -W "cpu gpu" -- "$word")); return ;;
        shard:--sync) COMPREPLY=($(compgen -W "batch always none" -- "$word")); return ;;
        shard:-j|shard:--jobs) return ;;
        shard:--memory) return ;;
        shard:--policy) _dcmtx_files "$word"; return ;;
        shard:--timeout) return ;;
        report:--parquet) _dcmtx_files "$word"; return ;;
        report:--check) return ;;
        report:-j|report:--jobs) return ;;
        serve:--socket) _dcmtx_files "$word"; return ;;
        serve:-j|serve:--jobs) return ;;
        serve:--log-format) COMPREPLY=($(compgen -W "text json" -- "$word")); return ;;
        relay:--listen) return ;;
        relay:--aet) return ;;
        relay:--to) return ;;
        relay:--transcode) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        relay:--spool) _dcmtx_files "$word"; return ;;
        relay:--http) return ;;
        relay:-j|relay:--jobs) return ;;
        relay:--log-format) COMPREPLY=($(compgen -W "text json" -- "$word")); return ;;
        relay:--config) _dcmtx_files "$word"; return ;;
        hook:--to) COMPREPLY=($(compgen -W "raw jpeg jpegls j2k htj2k jpegxl implicit explicit encapsulated deflated big-endian jpeg-baseline jpeg-extended jpeg-lossless-p14 jpeg-lossless jpegls-lossless jpegls-near j2k-lossless jpegxl-lossless jpegxl-jpeg htj2k-lossless htj2k-rpcl rle deflated-frames ImplicitVRLittleEndian ExplicitVRLittleEndian EncapsulatedUncompressedExplicitVRLittleEndian DeflatedExplicitVRLittleEndian ExplicitVRBigEndian JPEGBaseline8Bit JPEGExtended12Bit JPEGLossless JPEGLosslessSV1 JPEGLSLossless JPEGLSNearLossless JPEG2000Lossless JPEG2000 JPEGXLLossless JPEGXLJPEGRecompression JPEGXL HTJ2KLossless HTJ2KLosslessRPCL HTJ2K RLELossless DeflatedImageFrameCompression" -- "$word")); return ;;
        hook:--command) _dcmtx_files "$word"; return ;;
    esac
    if [[ $word == -* ]]; then
        case $command in
            convert) COMPREPLY=($(compgen -W "-t --to -w --raw -X --explicit -M --implicit -d --deflated -R --rle -J --jpeg -L --jpegls -K --j2k --htj2k --like -Y --lossy -q --quality -r --rate --ratio --psnr -e --allowed-error --lossy-error --near --subsampling --predictor --resolutions --progression --tile --code-block --tile-parts --effort --uid --offset-table --fragment-size --overlays --icon --signatures --unused-bits --one-bit --word-order --apply-palette --photometric --planar --no-pixels --remove --lengths --charset --dataset-only --assume --ignore-errors --fallback -F --force --verify --no-verify --cross-check --decoder --encoder --device --sync -n --no-clobber -j --jobs --memory --resume --fail-fast --update-references --timeout --isolate --skip-lossy --only-native --keep-if-larger --policy --dry-run -i --input -o --output --json --report --quiet --progress -v --verbose --cluster --run -h --help" -- "$word")); ;;
            info) COMPREPLY=($(compgen -W "--decode --json --strict -h --help" -- "$word")); ;;
            compare) COMPREPLY=($(compgen -W "--by --json --values --image --frame -h --help" -- "$word")); ;;
            render) COMPREPLY=($(compgen -W "--frame --size --bits -h --help" -- "$word")); ;;
            frames) COMPREPLY=($(compgen -W "--frames --as -n --no-clobber --quiet -h --help" -- "$word")); ;;
            index) COMPREPLY=($(compgen -W "--compact -h --help" -- "$word")); ;;
            advise) COMPREPLY=($(compgen -W "--files --frames --targets --json --plot --quiet -h --help" -- "$word")); ;;
            enhance) COMPREPLY=($(compgen -W "--group --mixed --study --overlays --max-frames -t --to -w --raw -X --explicit -M --implicit -d --deflated -R --rle -J --jpeg -L --jpegls -K --j2k --htj2k -Y --lossy -q --quality -r --rate --ratio --psnr -e --allowed-error --lossy-error --near --subsampling --predictor --resolutions --progression --tile --code-block --tile-parts --effort --offset-table --fragment-size --unused-bits --verify --no-verify -F --force --decoder --encoder --device --sync -n --no-clobber -j --jobs --memory --dry-run --isolate --json --report --quiet --progress -v --verbose -h --help" -- "$word")); ;;
            split) COMPREPLY=($(compgen -W "--frames --same-class --uid -t --to -w --raw -X --explicit -M --implicit -d --deflated -R --rle -J --jpeg -L --jpegls -K --j2k --htj2k -Y --lossy -q --quality -r --rate --ratio --psnr -e --allowed-error --lossy-error --near --subsampling --predictor --resolutions --progression --tile --code-block --tile-parts --effort --offset-table --fragment-size --unused-bits --verify --no-verify -F --force --decoder --encoder --device --sync -n --no-clobber -j --jobs --memory --dry-run --isolate --json --report --quiet --progress -v --verbose -h --help" -- "$word")); ;;
            rewrap) COMPREPLY=($(compgen -W "--relabel --offset-table --fragment-size --icon -n --no-clobber -j --jobs --memory --dry-run --resume --fail-fast --timeout --isolate --json --report --quiet --progress -v --verbose -h --help" -- "$word")); ;;
            crop) COMPREPLY=($(compgen -W "--rows --columns --frames --keep-private -t --to -w --raw -X --explicit -M --implicit -d --deflated -R --rle -J --jpeg -L --jpegls -K --j2k --htj2k -Y --lossy -q --quality -r --rate --ratio --psnr -e --allowed-error --lossy-error --near --subsampling --predictor --resolutions --progression --tile --code-block --tile-parts --effort --offset-table --fragment-size --overlays --signatures --unused-bits --one-bit --word-order --verify --no-verify --cross-check --decoder --encoder --device -n --no-clobber --sync -j --jobs --memory --dry-run --resume --fail-fast --timeout --isolate --json --report --quiet --progress -v --verbose -h --help" -- "$word")); ;;
            policy) COMPREPLY=($(compgen -W "-h --help" -- "$word")); ;;
            syntaxes) COMPREPLY=($(compgen -W "--json -h --help" -- "$word")); ;;
            audit) COMPREPLY=($(compgen -W "--pixels --sample --was -j --jobs --timeout --json --proof --resume --quiet -h --help" -- "$word")); ;;
            plan) COMPREPLY=($(compgen -W "--from --shard-bytes --shard-files --quiet -h --help" -- "$word")); ;;
            shard) COMPREPLY=($(compgen -W "--out -t --to -w --raw -X --explicit -M --implicit -d --deflated -R --rle -J --jpeg -L --jpegls -K --j2k --htj2k -Y --lossy -q --quality -r --rate --ratio --psnr -e --allowed-error --lossy-error --near --subsampling --predictor --resolutions --progression --tile --code-block --tile-parts --effort --uid --offset-table --fragment-size --overlays --icon --signatures --unused-bits --one-bit --word-order --apply-palette --photometric --planar --no-pixels --remove --lengths --charset --dataset-only --assume --ignore-errors --fallback -F --force --verify --no-verify --cross-check --decoder --encoder --device --sync -n --no-clobber -j --jobs --memory --skip-lossy --only-native --keep-if-larger --policy --dry-run --timeout --quiet -h --help" -- "$word")); ;;
            report) COMPREPLY=($(compgen -W "--parquet --check -j --jobs --json -h --help" -- "$word")); ;;
            serve) COMPREPLY=($(compgen -W "--socket -j --jobs --log-format --status --json --unit --client-source -h --help" -- "$word")); ;;
            relay) COMPREPLY=($(compgen -W "--listen --aet --to --transcode --spool --http --show-names -j --jobs --log-format --config --example --check --unit --json -h --help" -- "$word")); ;;
            as) COMPREPLY=($(compgen -W "--dcmtx-status -h --help" -- "$word")); ;;
            link) COMPREPLY=($(compgen -W "-h --help" -- "$word")); ;;
            completion) COMPREPLY=($(compgen -W "-h --help" -- "$word")); ;;
            hook) COMPREPLY=($(compgen -W "--to --command -h --help" -- "$word")); ;;
        esac
        ((COMP_CWORD > 1)) || COMPREPLY+=($(compgen -W "--version" -- "$word"))
        return
    fi
    case $command in
        convert) _dcmtx_files "$word"; ;;
        info) _dcmtx_files "$word"; ;;
        compare) _dcmtx_files "$word"; ;;
        render) _dcmtx_files "$word"; ;;
        frames) _dcmtx_files "$word"; ;;
        index) _dcmtx_files "$word"; ;;
        advise) _dcmtx_files "$word"; ;;
        enhance) _dcmtx_files "$word"; ;;
        split) _dcmtx_files "$word"; ;;
        rewrap) _dcmtx_files "$word"; ;;
        crop) _dcmtx_files "$word"; ;;
        policy) ;;
        syntaxes) ;;
        audit) _dcmtx_files "$word"; ;;
        plan) _dcmtx_files "$word"; ;;
        shard) _dcmtx_files "$word"; ;;
        report) _dcmtx_files "$word"; ;;
        serve) ;;
        relay) COMPREPLY=($(compgen -W "status hold retry drop" -- "$word")); ;;
        as) COMPREPLY=($(compgen -W "gdcmconv dcmconv dcmcjpeg dcmdjpeg dcmcjpls dcmdjpls dcmcrle dcmdrle dcm2dcm dicom-transcode" -- "$word")); ;;
        link) _dcmtx_files "$word"; ;;
        completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$word")); ;;
        hook) COMPREPLY=($(compgen -W "orthanc-python orthanc-lua orthanc-c" -- "$word")); ;;
    esac
    ((COMP_CWORD > 1)) || COMPREPLY+=($(compgen -W "convert info compare render frames index advise enhance split rewrap crop policy syntaxes audit plan shard report serve relay as link completion hook" -- "$word"))
}

complete -F _dcmtx dcmtx
