#compdef uwwan
# Answers of the program are lines of VALUE:DESCRIPTION. A value that ends in = or / is gone on with.
_uwwan() {
    local -a answers values open folders
    local answer value
    answers=("${(@f)$(
        _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) UWWAN_COMPLETE=zsh \
            uwwan -- "${(@)words}" 2>/dev/null
    )}")
    for answer in $answers; do
        value=${answer%%:*}
        case $value in
            (*=) open+=("$answer") ;;
            (*/) folders+=("${value%/}${answer#"$value"}") ;;
            (*) values+=("$answer") ;;
        esac
    done
    local result=1
    (($#folders)) && _describe -V folder folders -S / -r / && result=0
    (($#open)) && _describe -V value open -S '' && result=0
    (($#values)) && _describe -V value values && result=0
    return result
}
# As a file of fpath this is the function's body; sourced, it makes the function known.
if [[ $funcstack[1] == _uwwan ]]; then _uwwan "$@"; else compdef _uwwan uwwan; fi
