# fish completion for logsh; starts no Python.
# Made from the commands themselves by `python -m completions`: change those, not this file.

complete -c logsh -f

# Read what stands before the cursor, once for all the conditions below. In __logsh_state: the place (the command's
# words without logsh), how many arguments it has, the word at which a command of the user's begins or 0, and the
# options given.
function __logsh_read
    set -l line (commandline -pc | string collect)
    test "$line" = "$__logsh_line"; and return
    set -g __logsh_line $line
    set -l place ''
    set -l count 0
    set -l start 0
    set -l given
    set -l value
    set -l ended
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if test -n "$value"
            # Only now: with its value still to come, the option is the one that is being completed.
            set -a given $value
            set value
        else if test -z "$ended"; and test "$word" = --
            set ended 1
        else if test -z "$ended"; and string match -q -- '--*=*' $word
            set -a given (string split -m 1 = -- $word)[1]
        else if test -z "$ended"; and string match -q -- '--*' $word
            contains -- $word --api-url --deadline --desc --description --event --expect --expect-count --fail --from-line --icon --icon-failure --icon-success --jobs --kill-after --longer-than --meta --notify-after --notify-on --on --on-missing-key --output --port --profile --rate --success-codes --tail --timeout --workspace -d -e -i -m -p -w; and set value $word; or set -a given $word
        else if test -z "$ended"; and string match -q -- '-?*' $word
            set -l letters (string split '' -- (string sub -s 2 -- $word))
            while set -q letters[1]
                set -l name -$letters[1]
                set -e letters[1]
                if contains -- $name --api-url --deadline --desc --description --event --expect --expect-count --fail --from-line --icon --icon-failure --icon-success --jobs --kill-after --longer-than --meta --notify-after --notify-on --on --on-missing-key --output --port --profile --rate --success-codes --tail --timeout --workspace -d -e -i -m -p -w
                    set -q letters[1]; and set -a given $name; or set value $name
                    break
                end
                set -a given $name
            end
        else if contains -- "$place" '' 'outbox' 'config'
            set place (string trim -- "$place $word")
            set given
        else if contains -- "$place" 'run' 'sandbox'
            set start $i
            break
        else
            set count (math $count + 1)
        end
    end
    set -g __logsh_state "$place" $count $start $given
end

# Whether the cursor is at this place, after this many arguments if a number is given.
function __logsh_at
    __logsh_read
    test "$__logsh_state[1]" = "$argv[1]"; or return 1
    not set -q argv[2]; or test "$__logsh_state[2]" = "$argv[2]"
end

# Whether an option can be given here: it is the place, and none of its names was given yet.
function __logsh_takes
    __logsh_at $argv[1]; and test "$__logsh_state[3]" = 0; or return 1
    for name in $argv[2..-1]
        contains -- $name $__logsh_state[4..-1]; and return 1
    end
    return 0
end

# Complete the user's command as if it stood alone.
function __logsh_command
    set -l words (commandline -opc)
    set -l start $__logsh_state[3]
    if test $start -eq 0
        complete -C (commandline -ct | string collect)
    else
        complete -C (string join ' ' -- (string escape -- $words[$start..-1]) (commandline -ct) | string collect)
    end
end

function __logsh_profiles
    set -l directory (string replace -r '^~(?=/|$)' "$HOME" -- "$LOGSH_CONFIG_DIR")
    if test -z "$directory"
        if string match -q '/*' -- "$XDG_CONFIG_HOME"
            set directory $XDG_CONFIG_HOME/logsh
        else if test (uname) = Darwin
            set directory "$HOME/Library/Application Support/logsh"
        else
            set directory $HOME/.config/logsh
        end
    end
    echo default\tProfile
    test -r $directory/config.toml; or return
    set -l header '^ *\[ *profiles *\. *("([^"]+)"|\'([^\']+)\'|([A-Za-z0-9_-]+)) *\].*'
    command sed -nE "s/$header/\2\3\4/p" $directory/config.toml 2>/dev/null | string replace -r '$' \tProfile
end

function __logsh_emoji
    printf '%s\n' ':rocket:	🚀' ':tada:	🎉' ':sparkles:	✨' ':fire:	🔥' ':zap:	⚡' ':bulb:	💡' ':bell:	🔔' ':mega:	📣' ':email:	📧' ':package:	📦' ':gear:	⚙️' ':wrench:	🔧' ':hammer:	🔨' ':lock:	🔒' ':key:	🔑' ':link:	🔗' ':mag:	🔍' ':bug:	🐛' ':robot:	🤖' ':computer:	💻' ':floppy_disk:	💾' ':file_cabinet:	🗄️' ':chart_with_upwards_trend:	📈' ':chart_with_downwards_trend:	📉' ':moneybag:	💰' ':credit_card:	💳' ':bust_in_silhouette:	👤' ':busts_in_silhouette:	👥' ':white_check_mark:	✅' ':x:	❌' ':warning:	⚠️' ':rotating_light:	🚨' ':no_entry:	⛔' ':construction:	🚧' ':hourglass:	⌛' ':alarm_clock:	⏰' ':calendar:	📆' ':recycle:	♻️' ':wastebasket:	🗑️' ':globe_with_meridians:	🌐' ':cloud:	☁️' ':seedling:	🌱' ':green_circle:	🟢' ':red_circle:	🔴' ':pushpin:	📌' ':memo:	📝' ':heart:	❤️' ':wave:	👋' ':eyes:	👀'
end

# The value of the configuration key before it.
function __logsh_setting
    set -l words (commandline -opc)
    if contains -- ca_file $words
        __fish_complete_path (commandline -ct)
    else if contains -- icon $words
        __logsh_emoji
    else if contains -- notify $words
        printf '%s\n' true false
    end
end

# logsh
complete -c logsh -n '__logsh_at \'\'' -a send -d 'Send one event'
complete -c logsh -n '__logsh_at \'\'' -a run -d 'Run a command and report how it ended'
complete -c logsh -n '__logsh_at \'\'' -a batch -d 'Send one event for each line of JSON'
complete -c logsh -n '__logsh_at \'\'' -a outbox -d 'See, send or drop kept events'
complete -c logsh -n '__logsh_at \'\'' -a sandbox -d 'Run a local Logsh, alone or around a command'
complete -c logsh -n '__logsh_at \'\'' -a doctor -d 'Check settings, service, key and outbox'
complete -c logsh -n '__logsh_at \'\'' -a login -d 'Keep an API key in the configuration file'
complete -c logsh -n '__logsh_at \'\'' -a logout -d 'Remove the API key from a profile'
complete -c logsh -n '__logsh_at \'\'' -a config -d 'See and change settings'
complete -c logsh -n '__logsh_at \'\'' -a completion -d 'Print or install a shell\'s completion, or the manual'
complete -c logsh -n '__logsh_at \'\'' -a help -d 'Explain a command, exit-codes, environment or json'
complete -c logsh -n '__logsh_takes \'\' -V --version' -s V -l version -d 'Print the version and exit'
complete -c logsh -n '__logsh_takes \'\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh send
complete -c logsh -n '__logsh_takes \'send\' -e --event' -s e -l event -x -d 'What happened, e.g. deploy.done'
complete -c logsh -n '__logsh_takes \'send\' -d --desc --description' -s d -l desc -l description -x -d 'One sentence; - reads stdin'
complete -c logsh -n '__logsh_takes \'send\' -w --workspace' -s w -l workspace -x -d 'The workspace; created on first use'
complete -c logsh -n '__logsh_takes \'send\' -i --icon' -s i -l icon -x -a '(__logsh_emoji)' -d 'An emoji, or :rocket: and the like'
complete -c logsh -n '__logsh_takes \'send\' --notify --no-notify' -l notify -d 'Send a push notification, or don\'t'
complete -c logsh -n '__logsh_takes \'send\' --notify --no-notify' -l no-notify -d 'Send a push notification, or don\'t'
complete -c logsh -n '__logsh_takes \'send\'' -s m -l meta -x -d 'Metadata; KEY:=JSON a number or boolean'
complete -c logsh -n '__logsh_takes \'send\' --ci' -l ci -d 'Add the CI\'s repository, commit and run'
complete -c logsh -n '__logsh_takes \'send\' --truncate' -l truncate -d 'Shorten long texts to 150 characters'
complete -c logsh -n '__logsh_takes \'send\' --no-validate' -l no-validate -d 'Let the service judge the event'
complete -c logsh -n '__logsh_takes \'send\' --dry-run' -l dry-run -d 'Print the request, send nothing'
complete -c logsh -n '__logsh_takes \'send\' -b --background' -s b -l background -d 'Return once stored; deliver in background'
complete -c logsh -n '__logsh_takes \'send\' --deadline' -l deadline -x -d 'For all attempts and waits'
complete -c logsh -n '__logsh_takes \'send\' --best-effort' -l best-effort -d 'Warn and exit 0 if delivery fails'
complete -c logsh -n '__logsh_takes \'send\' --on-missing-key' -l on-missing-key -x -a 'fail skip' -d 'Without a key: fail, or skip and exit 0'
complete -c logsh -n '__logsh_takes \'send\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'send\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'send\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'send\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'send\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh run
complete -c logsh -n '__logsh_at \'run\'' -a '(__logsh_command)'
complete -c logsh -n '__logsh_takes \'run\' -e --event' -s e -l event -x -d 'The event\'s name'
complete -c logsh -n '__logsh_takes \'run\' -d --desc --description' -s d -l desc -l description -x -d 'Put before how the command ended'
complete -c logsh -n '__logsh_takes \'run\' -w --workspace' -s w -l workspace -x -d 'The workspace; created on first use'
complete -c logsh -n '__logsh_takes \'run\' -i --icon' -s i -l icon -x -a '(__logsh_emoji)' -d 'An emoji, or :rocket: and the like'
complete -c logsh -n '__logsh_takes \'run\'' -s m -l meta -x -d 'Metadata; KEY:=JSON a number or boolean'
complete -c logsh -n '__logsh_takes \'run\' --ci' -l ci -d 'Add the CI\'s repository, commit and run'
complete -c logsh -n '__logsh_takes \'run\' --on' -l on -x -a 'always failure success change' -d 'always (default), failure, success, change'
complete -c logsh -n '__logsh_takes \'run\' --notify-on' -l notify-on -x -a 'failure change always never' -d 'failure (default), change, always, never'
complete -c logsh -n '__logsh_takes \'run\' --notify-after' -l notify-after -x -d 'Push from the Nth failure in a row on'
complete -c logsh -n '__logsh_takes \'run\' --longer-than' -l longer-than -x -d 'Report long runs, and failures'
complete -c logsh -n '__logsh_takes \'run\' --success-codes' -l success-codes -x -d 'Exit codes and signals that count as success'
complete -c logsh -n '__logsh_takes \'run\' --start' -l start -d 'Report the start, too'
complete -c logsh -n '__logsh_takes \'run\' --tail' -l tail -x -d 'On failure, its output\'s end'
complete -c logsh -n '__logsh_takes \'run\' --timeout' -l timeout -x -d 'End it and all that it started after TIME'
complete -c logsh -n '__logsh_takes \'run\' --quiet-job' -l quiet-job -d 'Show its output only if it fails'
complete -c logsh -n '__logsh_takes \'run\' --dry-run' -l dry-run -d 'Show the events and run nothing'
complete -c logsh -n '__logsh_takes \'run\' -b --background' -s b -l background -d 'Return once stored; deliver in background'
complete -c logsh -n '__logsh_takes \'run\' --deadline' -l deadline -x -d 'For all attempts and waits'
complete -c logsh -n '__logsh_takes \'run\' --on-missing-key' -l on-missing-key -x -a 'fail skip' -d 'Without a key: fail, or skip and exit 0'
complete -c logsh -n '__logsh_takes \'run\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'run\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'run\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'run\' --kill-after' -l kill-after -x -d 'From TERM to KILL, once the time is out'
complete -c logsh -n '__logsh_takes \'run\' --icon-success' -l icon-success -x -a '(__logsh_emoji)' -d 'Instead of a green check mark'
complete -c logsh -n '__logsh_takes \'run\' --icon-failure' -l icon-failure -x -a '(__logsh_emoji)' -d 'Instead of a red cross'
complete -c logsh -n '__logsh_takes \'run\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh batch
complete -c logsh -n '__logsh_at \'batch\' 0' -F
complete -c logsh -n '__logsh_takes \'batch\' --jobs' -l jobs -x -d 'Requests under way at once'
complete -c logsh -n '__logsh_takes \'batch\' --rate' -l rate -x -d 'At most N requests a second'
complete -c logsh -n '__logsh_takes \'batch\' --from-line' -l from-line -x -d 'Begin at the Nth line'
complete -c logsh -n '__logsh_takes \'batch\' -w --workspace' -s w -l workspace -x -d 'The workspace; created on first use'
complete -c logsh -n '__logsh_takes \'batch\' --truncate' -l truncate -d 'Shorten long texts to 150 characters'
complete -c logsh -n '__logsh_takes \'batch\' --no-validate' -l no-validate -d 'Let the service judge the event'
complete -c logsh -n '__logsh_takes \'batch\' --dry-run' -l dry-run -d 'Check every line and send nothing'
complete -c logsh -n '__logsh_takes \'batch\' --deadline' -l deadline -x -d 'For all attempts of an event'
complete -c logsh -n '__logsh_takes \'batch\' --best-effort' -l best-effort -d 'Warn and exit 0 if delivery fails'
complete -c logsh -n '__logsh_takes \'batch\' --on-missing-key' -l on-missing-key -x -a 'fail skip' -d 'Without a key: fail, or skip and exit 0'
complete -c logsh -n '__logsh_takes \'batch\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'batch\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'batch\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'batch\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'batch\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh outbox
complete -c logsh -n '__logsh_at \'outbox\'' -a list -d 'Show what is waiting and what was refused'
complete -c logsh -n '__logsh_at \'outbox\'' -a show -d 'Show one kept event, whole'
complete -c logsh -n '__logsh_at \'outbox\'' -a flush -d 'Try everything that is waiting, now; with -q, for a timer, what is due'
complete -c logsh -n '__logsh_at \'outbox\'' -a retry -d 'Try refused events again, now'
complete -c logsh -n '__logsh_at \'outbox\'' -a drop -d 'Remove kept events for good'
complete -c logsh -n '__logsh_at \'outbox\'' -a recover -d 'Read what can be read of a damaged outbox that was set aside'
complete -c logsh -n '__logsh_takes \'outbox\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh outbox list
complete -c logsh -n '__logsh_takes \'outbox list\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'outbox list\' --json' -l json -d 'Print a line of JSON for each'
complete -c logsh -n '__logsh_takes \'outbox list\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'outbox list\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh outbox show
complete -c logsh -n '__logsh_at \'outbox show\' 0'
complete -c logsh -n '__logsh_takes \'outbox show\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'outbox show\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'outbox show\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh outbox flush
complete -c logsh -n '__logsh_takes \'outbox flush\' --adopt' -l adopt -d 'Also take this profile\'s events that were accepted under another key'
complete -c logsh -n '__logsh_takes \'outbox flush\' --jobs' -l jobs -x -d 'Requests under way at once'
complete -c logsh -n '__logsh_takes \'outbox flush\' --deadline' -l deadline -x -d 'For all attempts of an event'
complete -c logsh -n '__logsh_takes \'outbox flush\' --best-effort' -l best-effort -d 'Warn and exit 0 if delivery fails'
complete -c logsh -n '__logsh_takes \'outbox flush\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'outbox flush\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'outbox flush\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'outbox flush\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'outbox flush\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh outbox retry
complete -c logsh -n '__logsh_at \'outbox retry\''
complete -c logsh -n '__logsh_takes \'outbox retry\' --all' -l all -d 'Every event that the command applies to'
complete -c logsh -n '__logsh_takes \'outbox retry\' --deadline' -l deadline -x -d 'For all attempts of an event'
complete -c logsh -n '__logsh_takes \'outbox retry\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'outbox retry\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'outbox retry\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'outbox retry\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh outbox drop
complete -c logsh -n '__logsh_at \'outbox drop\''
complete -c logsh -n '__logsh_takes \'outbox drop\' --all' -l all -d 'Every event that the command applies to'
complete -c logsh -n '__logsh_takes \'outbox drop\' -y --yes' -s y -l yes -d 'Don\'t ask; needed with --all where there is no terminal'
complete -c logsh -n '__logsh_takes \'outbox drop\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'outbox drop\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'outbox drop\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh outbox recover
complete -c logsh -n '__logsh_at \'outbox recover\' 0' -F
complete -c logsh -n '__logsh_takes \'outbox recover\' --json' -l json -d 'Print a line of JSON for each'
complete -c logsh -n '__logsh_takes \'outbox recover\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh sandbox
complete -c logsh -n '__logsh_at \'sandbox\'' -a '(__logsh_command)'
complete -c logsh -n '__logsh_takes \'sandbox\' --port' -l port -x -d 'Where to listen; 0 is a free port'
complete -c logsh -n '__logsh_takes \'sandbox\' --fail' -l fail -x -d 'Answer the first requests so: statuses, drop, slow, html; e.g. 503,429,drop'
complete -c logsh -n '__logsh_takes \'sandbox\'' -l expect -x -d 'End with 1 unless an event has this value. Repeatable; metadata.KEY=VALUE, too'
complete -c logsh -n '__logsh_takes \'sandbox\' --expect-count' -l expect-count -x -d 'End with 1 unless exactly N events match'
complete -c logsh -n '__logsh_takes \'sandbox\' --expect-none' -l expect-none -d 'End with 1 if any event matches'
complete -c logsh -n '__logsh_takes \'sandbox\' --json' -l json -d 'Print each event as a line of JSON; the command\'s output goes to standard error'
complete -c logsh -n '__logsh_takes \'sandbox\' --output' -l output -x -d 'Write the events there instead, as lines of JSON'
complete -c logsh -n '__logsh_takes \'sandbox\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'sandbox\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh doctor
complete -c logsh -n '__logsh_takes \'doctor\' --deadline' -l deadline -x -d 'For all attempts and waits'
complete -c logsh -n '__logsh_takes \'doctor\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'doctor\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'doctor\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'doctor\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'doctor\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh login
complete -c logsh -n '__logsh_takes \'login\' --key-stdin' -l key-stdin -d 'Read the key from the first line of standard input'
complete -c logsh -n '__logsh_takes \'login\' -w --workspace' -s w -l workspace -x -d 'Also set the profile\'s workspace'
complete -c logsh -n '__logsh_takes \'login\' --api-url' -l api-url -x -d 'The URL that the key is for, if self-hosted'
complete -c logsh -n '__logsh_takes \'login\' --no-verify' -l no-verify -d 'Keep the key without asking the service about it'
complete -c logsh -n '__logsh_takes \'login\' --adopt' -l adopt -d 'Send what waits under the profile\'s former key with this one'
complete -c logsh -n '__logsh_takes \'login\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'login\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'login\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'login\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'login\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh logout
complete -c logsh -n '__logsh_takes \'logout\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'logout\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'logout\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'logout\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'logout\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh config
complete -c logsh -n '__logsh_at \'config\'' -a list -d 'Show every effective setting, and where it comes from'
complete -c logsh -n '__logsh_at \'config\'' -a get -d 'Print one effective setting'
complete -c logsh -n '__logsh_at \'config\'' -a set -d 'Set a key of a profile in the configuration file'
complete -c logsh -n '__logsh_at \'config\'' -a unset -d 'Remove a key of a profile from the configuration file'
complete -c logsh -n '__logsh_at \'config\'' -a path -d 'Print where the configuration file is, or would be'
complete -c logsh -n '__logsh_takes \'config\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh config list
complete -c logsh -n '__logsh_takes \'config list\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'config list\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'config list\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'config list\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh config get
complete -c logsh -n '__logsh_at \'config get\' 0' -a 'api_key workspace api_url ca_file icon notify deadline profile metadata best_effort on_missing_key'
complete -c logsh -n '__logsh_takes \'config get\' --reveal' -l reveal -d 'Print the API key itself'
complete -c logsh -n '__logsh_takes \'config get\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'config get\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'config get\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'config get\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh config set
complete -c logsh -n '__logsh_at \'config set\' 0' -a 'workspace api_url ca_file icon notify deadline'
complete -c logsh -n '__logsh_at \'config set\' 1' -a '(__logsh_setting)'
complete -c logsh -n '__logsh_takes \'config set\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'config set\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'config set\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'config set\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'config set\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh config unset
complete -c logsh -n '__logsh_at \'config unset\' 0' -a 'api_key workspace api_url ca_file icon notify deadline'
complete -c logsh -n '__logsh_takes \'config unset\' -p --profile' -s p -l profile -x -a '(__logsh_profiles)' -d 'Use this profile, not the default one'
complete -c logsh -n '__logsh_takes \'config unset\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'config unset\' -q --quiet' -s q -l quiet -d 'Print nothing on success'
complete -c logsh -n '__logsh_takes \'config unset\' -v --verbose' -s v -l verbose -d 'Show what happens, on standard error'
complete -c logsh -n '__logsh_takes \'config unset\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh config path
complete -c logsh -n '__logsh_takes \'config path\' --json' -l json -d 'Print the result as one line of JSON'
complete -c logsh -n '__logsh_takes \'config path\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh completion
complete -c logsh -n '__logsh_at \'completion\' 0' -a 'bash zsh fish powershell man'
complete -c logsh -n '__logsh_takes \'completion\' --install' -l install -d 'Put it where this user\'s shell, or man, looks for it'
complete -c logsh -n '__logsh_takes \'completion\' --dry-run' -l dry-run -d 'With --install, only say what would be written'
complete -c logsh -n '__logsh_takes \'completion\' -h --help' -s h -l help -d 'Show this message and exit'

# logsh help
complete -c logsh -n '__logsh_at \'help\'' -a 'send run batch outbox sandbox doctor login logout config completion help exit-codes environment json'
complete -c logsh -n '__logsh_takes \'help\' -h --help' -s h -l help -d 'Show this message and exit'
